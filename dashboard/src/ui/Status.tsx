import type { ReactNode } from "react";
import { Icon, type IconName } from "./Icon.tsx";

/** How something is. Always word, shape and colour together. */
export type Level = "ok" | "warn" | "bad" | "none" | "live";

const SHAPES: Record<Level, IconName> = { ok: "check", warn: "bang", bad: "cross", none: "dash", live: "ring" };
const WORDS: Record<Level, string> = { ok: "OK", warn: "Warning", bad: "Critical", none: "No data", live: "Live" };

/** A state in a pill. */
export function StatusPill({ level, children }: { level: Level; children?: ReactNode }) {
  return (
    <span className={`pill ${level}`}>
      <Icon name={SHAPES[level]} />
      {children ?? WORDS[level]}
    </span>
  );
}

/** A state in a row of a table: a shape and a word or number. */
export function StatusMark({ level, children }: { level: Level; children: ReactNode }) {
  return <span className={`status ${level}`}>{children}</span>;
}

/** The state of one request: its status code, or what became of it. */
export function RequestStatus({ status, outcome }: { status: number | null; outcome?: string | null }) {
  if (status === null || status === undefined) {
    return outcome === "running" ? <StatusMark level="live">…</StatusMark> : <StatusMark level="bad">{outcome ?? "no answer"}</StatusMark>;
  }
  const isBad = status >= 400 || (outcome !== undefined && outcome !== null && outcome !== "completed");
  return <StatusMark level={isBad ? "bad" : "ok"}>{status}</StatusMark>;
}
