/**
 * A JSON text as rows of a tree: which are open, what they say, where something is found.
 *
 * It runs in a worker for large texts and in the page for small ones; it knows nothing of either.
 */

export type Kind = "object" | "array" | "string" | "number" | "boolean" | "null";

export interface JsonRow {
  /** JSON pointer: /messages/0/content. */
  pointer: string;
  depth: number;
  /** null: the root; a number: a place in a list. */
  key: string | number | null;
  kind: Kind;
  /** What a leaf says, cut to what fits; of a branch, how many it holds. */
  text: string;
  /** Length of the whole string, or how many a branch holds. */
  size: number;
  isCut: boolean;
  isOpen: boolean;
}

type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/** Characters of a string that a row shows. */
export const SHOWN = 400;
const OPEN_AT_FIRST = 200;
const MOST_MATCHES = 1_000;

export class JsonModel {
  readonly #root: Json;
  readonly #open = new Set<string>();
  #rows: JsonRow[] | null = null;

  /** Throws SyntaxError. */
  constructor(text: string) {
    this.#root = JSON.parse(text) as Json;
    this.#openFirst();
  }

  get length(): number {
    return this.#all().length;
  }

  rows(start: number, end: number): JsonRow[] {
    return this.#all().slice(start, end);
  }

  toggle(pointer: string): void {
    if (!this.#open.delete(pointer)) this.#open.add(pointer);
    this.#rows = null;
  }

  /** Open or close everything; only so much is opened as people can want to see. */
  setAll(isOpen: boolean): void {
    this.#open.clear();
    if (isOpen) for (const [pointer] of branches(this.#root, "", 50_000)) this.#open.add(pointer);
    else this.#open.add("");
    this.#rows = null;
  }

  /** Return the rows at which a text stands in a key or a value, with all around them opened. */
  search(text: string): { pointers: string[]; indexes: number[]; isCut: boolean } {
    const wanted = text.toLowerCase();
    const pointers: string[] = [];
    if (wanted) find(this.#root, "", "", wanted, pointers);
    for (const pointer of pointers) {
      for (let at = pointer.lastIndexOf("/"); at >= 0; at = pointer.lastIndexOf("/", at - 1)) {
        this.#open.add(pointer.slice(0, at));
        if (at === 0) break;
      }
    }
    this.#rows = null;
    const place = new Map(this.#all().map((row, index) => [row.pointer, index]));
    return { pointers, indexes: pointers.map((pointer) => place.get(pointer) ?? 0), isCut: pointers.length >= MOST_MATCHES };
  }

  /** Return a value as text: strings as they are, everything else as JSON. */
  value(pointer: string): string {
    const value = resolve(this.#root, pointer);
    return typeof value === "string" ? value : JSON.stringify(value, null, 2);
  }

  #all(): JsonRow[] {
    if (!this.#rows) {
      this.#rows = [];
      this.#add(this.#root, "", null, 0, this.#rows);
    }
    return this.#rows;
  }

  #add(value: Json, pointer: string, key: string | number | null, depth: number, rows: JsonRow[]): void {
    const kind = kindOf(value);
    const isOpen = this.#open.has(pointer);
    rows.push({ pointer, depth, key, kind, isOpen, ...described(value) });
    if (!isOpen || value === null || typeof value !== "object") return;
    if (Array.isArray(value)) for (const [at, item] of value.entries()) this.#add(item, `${pointer}/${at}`, at, depth + 1, rows);
    else for (const name of Object.keys(value)) this.#add(value[name] ?? null, `${pointer}/${escaped(name)}`, name, depth + 1, rows);
  }

  /** Open level by level, as long as it stays a screenful or two. */
  #openFirst(): void {
    let shown = 1;
    for (const [pointer, size] of branches(this.#root, "", 5_000)) {
      if (pointer !== "" && shown + size > OPEN_AT_FIRST) continue;
      const parent = pointer.slice(0, Math.max(0, pointer.lastIndexOf("/")));
      if (pointer !== "" && !this.#open.has(parent)) continue;
      this.#open.add(pointer);
      shown += size;
    }
  }
}

function kindOf(value: Json): Kind {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  return typeof value as Kind;
}

function described(value: Json): Pick<JsonRow, "text" | "size" | "isCut"> {
  if (typeof value === "string") return { text: value.slice(0, SHOWN), size: value.length, isCut: value.length > SHOWN };
  if (value === null || typeof value !== "object") return { text: String(value), size: 0, isCut: false };
  return { text: "", size: Array.isArray(value) ? value.length : Object.keys(value).length, isCut: false };
}

/** Branches from the top down, level by level, so many at most. */
function branches(root: Json, start: string, most: number): [pointer: string, size: number][] {
  const found: [string, number][] = [];
  let level: [string, Json][] = [[start, root]];
  while (level.length && found.length < most) {
    const next: [string, Json][] = [];
    for (const [pointer, value] of level) {
      if (value === null || typeof value !== "object") continue;
      const names = Array.isArray(value) ? [...value.keys()] : Object.keys(value);
      found.push([pointer, names.length]);
      if (found.length >= most) break;
      for (const name of names) {
        const child = Array.isArray(value) ? value[name as number] : value[name];
        if (child !== null && typeof child === "object") next.push([`${pointer}/${escaped(String(name))}`, child]);
      }
    }
    level = next;
  }
  return found;
}

function find(value: Json, pointer: string, key: string, wanted: string, found: string[]): void {
  if (found.length >= MOST_MATCHES) return;
  const isLeaf = value === null || typeof value !== "object";
  if (key.toLowerCase().includes(wanted) || (isLeaf && String(value).toLowerCase().includes(wanted))) found.push(pointer);
  if (isLeaf) return;
  if (Array.isArray(value)) for (const [at, item] of value.entries()) find(item, `${pointer}/${at}`, "", wanted, found);
  else for (const name of Object.keys(value)) find(value[name] ?? null, `${pointer}/${escaped(name)}`, name, wanted, found);
}

function escaped(name: string): string {
  return name.replaceAll("~", "~0").replaceAll("/", "~1");
}

function resolve(root: Json, pointer: string): Json {
  let value = root;
  for (const part of pointer.split("/").slice(1)) {
    const name = part.replaceAll("~1", "/").replaceAll("~0", "~");
    if (value === null || typeof value !== "object") return null;
    value = (Array.isArray(value) ? value[Number(name)] : value[name]) ?? null;
  }
  return value;
}

/** Return a pointer as people write it in programs: messages[0].content. */
export function pathText(pointer: string): string {
  return pointer
    .split("/")
    .slice(1)
    .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"))
    .map((part, at) => (/^\d+$/.test(part) ? `[${part}]` : /^[A-Za-z_$][\w$]*$/.test(part) ? `${at ? "." : ""}${part}` : `[${JSON.stringify(part)}]`))
    .join("");
}
