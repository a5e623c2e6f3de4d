// Many small files as one zip, stored without compression: one upload instead of thousands. The files are not read into
// memory; the zip is a Blob that names them, and the same files give the same bytes, so it can be continued.
const TABLE = new Uint32Array(256).map((_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});
const BLOCK = 4 << 20;
const DATE = 0x21; // 1980-01-01
const UTF8 = 0x0800;
export const MOST_FILES = 65535;
export const MOST_BYTES = 0xffffffff;

// Raises RangeError for more than a zip of this kind can hold.
export async function zip(files, name, tell = () => {}) {
  const parts = [];
  const index = [];
  let offset = 0;
  if (files.length > MOST_FILES) throw new RangeError("files");
  for (const [n, file] of files.entries()) {
    const path = new TextEncoder().encode(file.path ?? file.name);
    const facts = [UTF8, 0, 0, DATE, await crc(file), file.size, file.size, path.length, 0];
    const head = record(0x04034b50, [20], facts, []);
    parts.push(head, path, file);
    index.push(record(0x02014b50, [20, 20], facts, [0, 0, 0]), attributes(offset), path);
    offset += head.length + path.length + file.size;
    if (offset > MOST_BYTES) throw new RangeError("bytes");
    tell(n + 1);
  }
  const size = index.reduce((sum, part) => sum + part.length, 0);
  if (offset + size > MOST_BYTES) throw new RangeError("bytes");
  const end = new DataView(new ArrayBuffer(22));
  end.setUint32(0, 0x06054b50, true);
  end.setUint16(8, files.length, true);
  end.setUint16(10, files.length, true);
  end.setUint32(12, size, true);
  end.setUint32(16, offset, true);
  const newest = files.reduce((last, file) => Math.max(last, file.lastModified), 0);
  return new File([...parts, ...index, end], name, { lastModified: newest, type: "application/zip" });
}

// The fields that a local and a central record share, in the order of the format.
function record(signature, versions, [flags, method, time, date, sum, packed, size, name, extra], more) {
  const view = new DataView(new ArrayBuffer(28 + 2 * versions.length + 2 * more.length));
  view.setUint32(0, signature, true);
  let at = 4;
  for (const [width, values] of [
    [2, [...versions, flags, method, time, date]],
    [4, [sum, packed, size]],
    [2, [name, extra, ...more]],
  ]) {
    for (const value of values) {
      if (width === 2) view.setUint16(at, value, true);
      else view.setUint32(at, value, true);
      at += width;
    }
  }
  return new Uint8Array(view.buffer);
}

// The end of a central record: no attributes, and where the file lies.
function attributes(offset) {
  const view = new DataView(new ArrayBuffer(8));
  view.setUint32(4, offset, true);
  return new Uint8Array(view.buffer);
}

async function crc(file) {
  let sum = 0xffffffff;
  for (let at = 0; at < file.size; at += BLOCK) {
    const bytes = new Uint8Array(await file.slice(at, at + BLOCK).arrayBuffer());
    for (let n = 0; n < bytes.length; n++) sum = TABLE[(sum ^ bytes[n]) & 0xff] ^ (sum >>> 8);
  }
  return (sum ^ 0xffffffff) >>> 0;
}
