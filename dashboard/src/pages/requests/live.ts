/**
 * What is recorded while somebody looks. It never moves what they read: new rows go to the top of the list only while
 * that is what they look at, and wait behind a number otherwise.
 */
import { useCallback, useEffect, useRef, useState } from "react";
import { address } from "../../lib/path.ts";
import { useStream, type StreamState } from "../../lib/stream.ts";
import type { RequestRow } from "./rows.ts";

const MOST_FRESH = 500;
const MOST_WAITING = 200;
const AT_TOP_PX = 60;

export interface Live {
  state: StreamState;
  /** Rows to show above the list, the newest first. */
  fresh: readonly RequestRow[];
  /** How many wait to be shown. */
  waiting: number;
  /** Of the last look only some were told: how many of how many. */
  sample: readonly [shown: number, of: number] | null;
  /** Show what waits. */
  show(): void;
}

interface Told {
  rows: RequestRow[];
  of: number;
}

/** `after`: the place from which on everything is new; null: not yet. `restart` reads the list anew: where more came than was told, or more than is kept here. */
export function useLive(q: string, after: number | null, isFollowing: boolean, restart: () => Promise<void>): Live {
  const [fresh, setFresh] = useState<readonly RequestRow[]>([]);
  const [waiting, setWaiting] = useState({ count: 0, isWhole: true, rows: [] as readonly RequestRow[] });
  const [sample, setSample] = useState<readonly [number, number] | null>(null);
  const latest = useRef({ isFollowing, restart, fresh });
  latest.current = { isFollowing, restart, fresh };

  const url = after === null ? null : address("/api/requests/stream", { q, after });
  // Another list holds what was told of the one before, or is in an order in which it stands elsewhere.
  useEffect(() => {
    setFresh([]);
    setWaiting({ count: 0, isWhole: true, rows: [] });
    setSample(null);
  }, [url]);

  const begin = useCallback(() => {
    setFresh([]);
    setWaiting({ count: 0, isWhole: true, rows: [] });
    void latest.current.restart();
  }, []);

  const onMessage = useCallback(
    (type: string, data: string) => {
      if (type === "gap") {
        if (latest.current.isFollowing && scrollY < AT_TOP_PX) begin();
        else setWaiting((before) => ({ ...before, count: before.count + 1_000, isWhole: false }));
        return;
      }
      if (type !== "rows") return;
      const told = JSON.parse(data) as Told;
      const rows = told.rows.toReversed();
      setSample(told.of > rows.length ? [rows.length, told.of] : null);
      if (latest.current.isFollowing && scrollY < AT_TOP_PX) {
        if (latest.current.fresh.length + rows.length > MOST_FRESH) begin();
        else setFresh((before) => [...rows, ...before]);
      } else {
        setWaiting((before) => ({
          count: before.count + told.of,
          isWhole: before.isWhole && told.of === rows.length && before.rows.length + rows.length <= MOST_WAITING,
          rows: [...rows, ...before.rows].slice(0, MOST_WAITING),
        }));
      }
    },
    [begin],
  );
  const state = useStream(url, onMessage, ["rows", "gap", "over"]);

  const show = useCallback(() => {
    if (waiting.isWhole) setFresh((before) => [...waiting.rows, ...before].slice(0, MOST_FRESH));
    else begin();
    setWaiting({ count: 0, isWhole: true, rows: [] });
    scrollTo({ top: 0 });
  }, [waiting, begin]);

  // Who follows and is at the top, or comes back there, is shown what waited.
  useEffect(() => {
    if (!isFollowing || !waiting.count) return undefined;
    const look = () => scrollY < AT_TOP_PX && show();
    look();
    addEventListener("scroll", look, { passive: true });
    return () => removeEventListener("scroll", look);
  }, [isFollowing, waiting.count, show]);

  return { state, fresh, waiting: waiting.count, sample, show };
}
