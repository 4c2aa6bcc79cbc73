/** A stream of server-sent events as one JSON document. */

/** Of a stream the data of its events, as one array; null: it is none. */
export function eventsAsJson(text: string): string | null {
  if (!/^(?:event|data|id|:)/.test(text)) return null;
  const found: string[] = [];
  for (const block of text.split(/\r?\n\r?\n/)) {
    const data = block.split(/\r?\n/).filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trimStart()).join("\n");
    if (data === "") continue;
    found.push(/^[[{"]/.test(data) && isJson(data) ? data : JSON.stringify(data));
  }
  return `[${found.join(",")}]`;
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
