/**
 * Server-sent events that survive: a lost connection is opened again, later each time; a hidden tab lets go and catches
 * up from the last id when it is looked at again.
 */
import { useEffect, useRef, useState } from "react";

export type StreamState = "connecting" | "live" | "paused" | "reconnecting" | "off";

export interface StreamOptions {
  /** Address for a new connection; `after`: the last id that arrived, or null. */
  address(after: string | null): string;
  /** One message; `type` is the event's name. */
  onMessage(type: string, data: string, id: string): void;
  /** Names of events beside `message`. */
  types?: readonly string[];
  onState(state: StreamState): void;
}

const LONGEST_WAIT_MS = 30_000;

/** Keep a stream open until the returned function is called. */
export function openStream(options: StreamOptions): () => void {
  let source: EventSource | null = null;
  let after: string | null = null;
  let failures = 0;
  let timer = 0;

  function connect(): void {
    options.onState(failures ? "reconnecting" : "connecting");
    const opened = new EventSource(options.address(after));
    source = opened;
    opened.onopen = () => {
      failures = 0;
      options.onState("live");
    };
    const take = (event: Event) => {
      if (!(event instanceof MessageEvent)) return;
      if (event.lastEventId) after = event.lastEventId;
      options.onMessage(event.type, String(event.data), event.lastEventId);
    };
    for (const type of ["message", ...(options.types ?? [])]) opened.addEventListener(type, take);
    opened.onerror = () => {
      // The browser's own way back ends for good with the first 503; ours does not.
      close();
      failures += 1;
      options.onState("reconnecting");
      timer = setTimeout(connect, Math.min(LONGEST_WAIT_MS, 500 * 2 ** failures) * (0.75 + Math.random() / 2)) as unknown as number;
    };
  }

  function close(): void {
    clearTimeout(timer);
    source?.close();
    source = null;
  }

  function look(): void {
    close();
    failures = 0;
    if (document.hidden) options.onState("paused");
    else connect();
  }

  document.addEventListener("visibilitychange", look);
  look();
  return () => {
    document.removeEventListener("visibilitychange", look);
    close();
    options.onState("off");
  };
}

/** A stream that lives as long as its part of the page; `url` null: none. */
export function useStream(url: string | null, onMessage: StreamOptions["onMessage"], types: readonly string[] = []): StreamState {
  const [state, setState] = useState<StreamState>("off");
  const latest = useRef(onMessage);
  latest.current = onMessage;
  const names = types.join(",");
  useEffect(() => {
    if (url === null) return undefined;
    return openStream({
      address: (after) => (after === null ? url : `${url}${url.includes("?") ? "&" : "?"}after=${encodeURIComponent(after)}`),
      onMessage: (type, data, id) => latest.current(type, data, id),
      types: names ? names.split(",") : [],
      onState: setState,
    });
  }, [url, names]);
  return state;
}
