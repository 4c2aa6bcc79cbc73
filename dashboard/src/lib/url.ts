/**
 * All state of a page stands in its address.
 *
 * A page declares its parameters once; defaults are not written, what a page does not know stays. Filters, sort and time
 * are steps of the history, so that Back undoes the last one; selection and tab replace the step they belong to.
 */
import { useCallback, useMemo } from "react";
import { useLocation, useSearch } from "wouter";
import { readable } from "./path.ts";

export interface Param<T> {
  read(text: string | null): T;
  /** null: the default, which is not written. */
  write(value: T): string | null;
  /** push: Back undoes it. */
  history: "push" | "replace";
}

type History = Param<unknown>["history"];
/** A parameter of whatever type. */
export interface AnyParam {
  read(text: string | null): unknown;
  write(value: never): string | null;
  history: History;
}
export type Schema = Readonly<Record<string, AnyParam>>;
export type State<S> = { readonly [Name in keyof S]: S[Name] extends Param<infer T> ? T : never };
export type Patch<S> = Partial<{ [Name in keyof S]: S[Name] extends Param<infer T> ? T : never }>;

/** Any text. */
export function text(standard = "", history: History = "push"): Param<string> {
  return { read: (found) => found ?? standard, write: (value) => (value === standard ? null : value), history };
}

/** One of a few words. */
export function choice<T extends string>(options: readonly T[], standard: T, history: History = "push"): Param<T> {
  return {
    read: (found) => options.find((option) => option === found) ?? standard,
    write: (value) => (value === standard ? null : value),
    history,
  };
}

/** Some words, separated by commas. */
export function words(standard: readonly string[] = [], history: History = "push"): Param<readonly string[]> {
  const plain = standard.join(",");
  const kept = new Map<string, readonly string[]>();
  return {
    read: (found) => {
      const written = found ?? plain;
      const known = kept.get(written) ?? written.split(",").filter(Boolean);
      kept.set(written, known);
      return known;
    },
    write: (value) => (value.join(",") === plain ? null : value.join(",")),
    history,
  };
}

/** On or off. */
export function flag(standard = false, history: History = "push"): Param<boolean> {
  return {
    read: (found) => (found === null ? standard : found === "1" || found === "true"),
    write: (value) => (value === standard ? null : value ? "1" : "0"),
    history,
  };
}

/** A whole number. */
export function whole(standard: number, history: History = "push"): Param<number> {
  return {
    read: (found) => (found !== null && /^-?\d{1,15}$/.test(found) ? Number(found) : standard),
    write: (value) => (value === standard ? null : String(value)),
    history,
  };
}

/** The range of time of a page: relative stays relative. */
export const timeParams = (from = "now-24h", to = "now") => ({ from: text(from), to: text(to), tz: text("") }) as const;

/** Read all parameters of a schema from the query of an address. */
export function readState<S extends Schema>(schema: S, search: string): State<S> {
  const found = new URLSearchParams(search);
  return Object.fromEntries(Object.entries(schema).map(([name, param]) => [name, param.read(found.get(name))])) as State<S>;
}

/** Return the query of an address after a change, with what the schema does not know left alone. */
export function writeState<S extends Schema>(schema: S, search: string, patch: Patch<S>): { search: string; history: History } {
  const found = new URLSearchParams(search);
  let history: History = "replace";
  for (const [name, value] of Object.entries(patch)) {
    const param = schema[name];
    if (!param || value === undefined) continue;
    const written = param.write(value as never);
    if (written === found.get(name)) continue;
    if (param.history === "push") history = "push";
    if (written === null) found.delete(name);
    else found.set(name, written);
  }
  const parts = [...found].map(([name, value]) => `${encodeURIComponent(name)}=${readable(value)}`);
  return { search: parts.length ? `?${parts.join("&")}` : "", history };
}

/** The parameters of a page, and the way to change some of them. */
export function useUrlState<S extends Schema>(schema: S): [State<S>, (patch: Patch<S>, history?: History) => void] {
  const search = useSearch();
  const [path, navigate] = useLocation();
  const state = useMemo(() => readState(schema, search), [schema, search]);
  const set = useCallback(
    (patch: Patch<S>, history?: History) => {
      // Read anew: two changes in one turn must not undo each other.
      const before = location.search;
      const after = writeState(schema, before, patch);
      if (after.search === before) return;
      navigate(path + after.search, { replace: (history ?? after.history) === "replace" });
    },
    [schema, path, navigate],
  );
  return [state, set];
}
