// Files out of a drop or a picker, folders opened.

const PICTURES = /\.(jpe?g|png|webp|bmp|gif|avif)$/i;

/** Returns whether a file found in a folder is taken for a picture. */
function isPicture(file) {
  return file.type.startsWith('image/') || PICTURES.test(file.name);
}

/**
 * Returns the files of a drop: those dropped themselves, and the pictures in dropped folders.
 *
 * @param {DataTransfer} transfer of the event; read before the first await, for it is emptied then.
 */
export async function droppedFiles(transfer) {
  const entries = [...transfer.items].filter((item) => item.kind === 'file')
    .map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile());
  const files = [];
  for (const entry of entries) {
    if (entry instanceof File) files.push(entry);
    else if (entry.isDirectory) files.push(...await picturesIn(entry));
    else files.push(await new Promise((done, fail) => entry.file(done, fail)));
  }
  return files;
}

async function picturesIn(folder) {
  const reader = folder.createReader();
  const entries = [];
  // A reader gives a hundred at a time, and none at the end.
  for (;;) {
    const some = await new Promise((done, fail) => reader.readEntries(done, fail));
    if (some.length === 0) break;
    entries.push(...some);
  }
  const files = [];
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (entry.isDirectory) {
      files.push(...await picturesIn(entry));
    } else {
      const file = await new Promise((done, fail) => entry.file(done, fail));
      if (isPicture(file)) files.push(file);
    }
  }
  return files;
}

/** Returns the pictures of a folder picker's files, in the order of their paths. */
export function pickedPictures(files) {
  return [...files].filter(isPicture)
    .sort((a, b) => (a.webkitRelativePath < b.webkitRelativePath ? -1 : 1));
}
