// The service worker (offline.js): started here, and given the page once.

const TRIED = 'isolation-tried';

/**
 * Starts the service worker, without which the page works too: online and on one thread.
 *
 * @returns {Promise<boolean>} whether to go on: not, when the page is about to load once more, now
 *     from the service worker and with its headers.
 */
export async function startOffline() {
  if (!navigator.serviceWorker) return true;
  try {
    await navigator.serviceWorker.register('offline.js');
    await navigator.serviceWorker.ready;
  } catch (error) {
    console.warn('No use offline and no threads:', error);
    return true;
  }
  if (self.crossOriginIsolated || sessionStorage.getItem(TRIED)) return true;
  sessionStorage.setItem(TRIED, 'yes'); // once: a browser may never isolate
  location.reload();
  return false;
}
