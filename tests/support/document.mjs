import { readFile, writeFile } from 'node:fs/promises';

/**
 * Writes one part of a document, between the comments that name it, and leaves the others as they are; a part that is
 * not there yet comes last.
 */
export async function writePart(file, name, text) {
  const [begin, end] = [`<!-- ${name} -->`, `<!-- end of ${name} -->`];
  const document = await readFile(file, 'utf8');
  const [from, to] = [document.indexOf(begin), document.indexOf(end)];
  const part = `${begin}\n${text.trim()}\n${end}`;
  await writeFile(file, from >= 0 && to > from ? document.slice(0, from) + part + document.slice(to + end.length) : `${document.trimEnd()}\n\n${part}\n`);
}
