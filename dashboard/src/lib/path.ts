/** Addresses: everything under the base path, ids as path segments that every proxy reads alike. */
import { boot } from "./boot.ts";

export type Value = string | number | boolean | null | undefined | readonly string[];
export type Params = Readonly<Record<string, Value>>;

/** What a path may hold unencoded in our grammar, so that an address can be read. */
const READABLE: readonly (readonly [RegExp, string])[] = [
  [/%20/g, "+"], [/%3A/gi, ":"], [/%2C/gi, ","], [/%2F/gi, "/"], [/%24/g, "$"], [/%40/g, "@"],
];

/** Encode a value of a query so that people can still read it. */
export function readable(text: string): string {
  return READABLE.reduce((written, [pattern, plain]) => written.replace(pattern, plain), encodeURIComponent(text.toWellFormed()));
}

/** Return `?a=b`, or "" when nothing is asked; null, undefined and "" are left out. */
export function query(params: Params = {}): string {
  const parts = Object.entries(params)
    .filter(([, value]) => value !== null && value !== undefined && value !== "")
    .map(([name, value]) => `${encodeURIComponent(name)}=${readable(Array.isArray(value) ? value.join(",") : String(value))}`);
  return parts.length ? `?${parts.join("&")}` : "";
}

/**
 * Return an id as one segment of a path.
 *
 * The admin port refuses encoded slashes, percent signs and dot segments, which servers read differently; what is
 * neither letter, digit, `-`, `_`, `.` nor `:` is therefore written as `~` and the two hexadecimal digits of each byte.
 */
export function segment(id: string): string {
  const safe = [...new TextEncoder().encode(id.toWellFormed())]
    .map((byte) => {
      const sign = String.fromCharCode(byte);
      return /[A-Za-z0-9_:.-]/.test(sign) ? sign : `~${byte.toString(16).padStart(2, "0").toUpperCase()}`;
    })
    .join("");
  return /^\.{1,2}$/.test(safe) ? safe.replaceAll(".", "~2E") : safe;
}

/** Read what `segment` wrote. */
export function readSegment(text: string): string {
  const bytes: number[] = [];
  for (let at = 0; at < text.length; at += 1) {
    const code = /^~([0-9A-F]{2})/.exec(text.slice(at, at + 3))?.[1];
    if (code) {
      bytes.push(Number.parseInt(code, 16));
      at += 2;
    } else {
      bytes.push(...new TextEncoder().encode(text[at]));
    }
  }
  return new TextDecoder().decode(new Uint8Array(bytes));
}

/** Return the address of an API route or of anything that the server answers itself. */
export function address(path: string, params?: Params): string {
  return `${boot.base}${path}${query(params)}`;
}

/** Where things are shown; paths as the router sees them, without the base path. */
export const pageOf = {
  request: (id: string) => `/requests/${segment(id)}`,
  requests: (q = "", params: Params = {}) => `/requests${query({ q, ...params })}`,
  session: (id: string) => `/sessions/${segment(id)}`,
  user: (id: string) => `/users/${segment(id)}`,
  budget: (name: string) => `/budgets/${segment(name)}`,
  key: (name: string) => `/keys/${segment(name)}`,
  replay: (id: string) => `/playground${query({ from: id })}`,
  settings: (section: string) => `/settings/${section}`,
  /** A saved view: its parameters, and which one it is. */
  view: (view: { id: number; page: string; query: string }) => `/${view.page}?${view.query ? `${view.query}&` : ""}view=${view.id}`,
} as const;
