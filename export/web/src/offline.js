// Service worker: keeps every file of the page for use without a network, and sends the two
// headers under which browsers allow threads, so that any plain file server will do.

const KEPT = 'retinanet-web';
const HEADERS = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
};

self.addEventListener('install', () => self.skipWaiting());
self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));
self.addEventListener('fetch', (event) => {
  const {request} = event;
  const own = new URL(request.url).origin === self.location.origin;
  if (own && request.method === 'GET') event.respondWith(answer(request));
});

/** Answers from the server, or without one as it last answered. */
async function answer(request) {
  const kept = await caches.open(KEPT);
  let response;
  try {
    response = await fetch(request);
    if (response.status === 200) await kept.put(request, response.clone());
  } catch (error) {
    response = await kept.match(request);
    if (!response) throw error;
  }
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value);
  const {status, statusText} = response;
  return new Response(response.body, {status, statusText, headers});
}
