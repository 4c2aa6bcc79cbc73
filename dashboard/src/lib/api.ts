/** The one way to the server: typed, under the base path, errors as `Problem`. */
import { boot } from "./boot.ts";
import { address, type Params } from "./path.ts";

/** What the server refused, in its own words, or that it could not be reached. */
export class Problem extends Error {
  constructor(
    /** 0: no answer came. */
    readonly status: number,
    readonly code: string,
    message: string,
    /** Where in a filter, from 0. */
    readonly position: number | null = null,
    /** What was asked, for people to pass on. */
    readonly asked: string = "",
  ) {
    super(message);
    this.name = "Problem";
  }

  /** Trying again may help. */
  get isPassing(): boolean {
    return this.status === 0 || this.status === 503 || this.status === 429;
  }
}

interface ErrorBody {
  error?: { code?: string; message?: string; position?: number };
}

/** Ask a question. */
export async function get<T>(path: string, params?: Params, signal?: AbortSignal): Promise<T> {
  return read<T>(await ask(address(path, params), { signal: signal ?? null, headers: { accept: "application/json" } }));
}

/** Ask for text or bytes. */
export async function getResponse(path: string, params?: Params, signal?: AbortSignal): Promise<Response> {
  return ask(address(path, params), { signal: signal ?? null });
}

/**
 * Make a change.
 *
 * It is proved to come from our own pages by being JSON from the same origin: browsers send `Origin` with it, and let
 * no other site send JSON.
 */
export async function send<T>(method: "POST" | "PUT" | "PATCH" | "DELETE", path: string, body: unknown = {}, params?: Params, signal?: AbortSignal): Promise<T> {
  const headers = { accept: "application/json", "content-type": "application/json" };
  return read<T>(await ask(address(path, params), { method, headers, body: JSON.stringify(body), signal: signal ?? null }));
}

async function ask(url: string, init: RequestInit): Promise<Response> {
  let answer: Response;
  try {
    answer = await fetch(url, init);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Problem(0, "unreachable", "Glassline cannot be reached. Is it running?", null, url);
  }
  if (answer.ok) return answer;
  if (answer.status === 401 && boot.by === "session") leave();
  const told = (await answer.json().catch(() => ({}))) as ErrorBody;
  throw new Problem(answer.status, told.error?.code ?? "error", told.error?.message ?? `HTTP ${answer.status}`, told.error?.position ?? null, url);
}

async function read<T>(answer: Response): Promise<T> {
  return (await answer.json()) as T;
}

/** The session is over: log in, and come back to this page. */
function leave(): void {
  const here = location.pathname.slice(boot.base.length) + location.search;
  location.assign(address("/login", { next: here }));
}
