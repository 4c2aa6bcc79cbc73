/** Ranges of time: `now-1h` stays `now-1h` in an address, absolute ones are Unix ms. */
import { clock, date, isSameDay, type Zone } from "./format.ts";

const UNITS: Record<string, number> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };
const NAMES: Record<string, string> = { s: "second", m: "minute", h: "hour", d: "day", w: "week" };

export const PRESETS: readonly (readonly [from: string, name: string])[] = [
  ["now-15m", "Last 15 minutes"], ["now-1h", "Last hour"], ["now-6h", "Last 6 hours"], ["now-24h", "Last 24 hours"],
  ["now-7d", "Last 7 days"], ["now-30d", "Last 30 days"], ["now-90d", "Last 90 days"],
];

/** Return Unix ms, or null when this is no time. The server reads the same words. */
export function readInstant(text: string, now: number): number | null {
  const relative = /^now(?:-(\d{1,6})([smhdw]))?$/.exec(text.trim());
  if (relative) return now - Number(relative[1] ?? 0) * (UNITS[relative[2] ?? "s"] ?? 0);
  if (/^\d{12,14}$/.test(text.trim())) return Number(text);
  const parsed = /^\d{4}-\d{2}-\d{2}/.test(text) ? Date.parse(/^\d{4}-\d{2}-\d{2}$/.test(text) ? `${text}T00:00` : text) : Number.NaN;
  return Number.isNaN(parsed) ? null : parsed;
}

/** Return both ends of a range. */
export function resolve(range: { from: string; to: string }, now: number): { from: number; to: number } {
  const to = readInstant(range.to, now) ?? now;
  return { from: readInstant(range.from, now) ?? to - 86_400_000, to };
}

/** Say whether a range moves with the clock. */
export function isRelative(range: { from: string; to: string }): boolean {
  return range.from.startsWith("now") || range.to.startsWith("now");
}

/** Return what a range is called. */
export function rangeName(range: { from: string; to: string }, zone: Zone, now: number): string {
  const relative = /^now-(\d+)([smhdw])$/.exec(range.from);
  if (relative && range.to === "now") {
    const amount = Number(relative[1]);
    const known = PRESETS.find(([from]) => from === range.from);
    return known ? known[1] : `Last ${amount === 1 ? "" : `${amount} `}${NAMES[relative[2] ?? "h"]}${amount === 1 ? "" : "s"}`;
  }
  const { from, to } = resolve(range, now);
  const end = isSameDay(from, to, zone) ? clock(to, zone, "min") : `${date(to, zone, now)} ${clock(to, zone, "min")}`;
  return `${date(from, zone, now)} ${clock(from, zone, "min")} – ${end}`;
}

/** Return the range of a whole day, so many days before today, in a zone; of today what there is of it. */
export function dayRange(ago: number, now: number, zone: Zone): { from: string; to: string } {
  const today = Date.parse(`${toField(now, zone).slice(0, 10)}T00:00Z`);
  const start = (days: number) => String(fromField(new Date(today - days * 86_400_000).toISOString().slice(0, 16), zone) ?? now);
  return { from: start(ago), to: ago ? start(ago - 1) : "now" };
}

/** Return a date and time as a field of a form writes it, in a zone. */
export function toField(ms: number, zone: Zone): string {
  const parts = new Intl.DateTimeFormat("en-CA", {
    year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", hourCycle: "h23",
    ...(zone ? { timeZone: zone } : {}),
  }).formatToParts(ms);
  const part = (type: string) => parts.find((each) => each.type === type)?.value ?? "";
  return `${part("year")}-${part("month")}-${part("day")}T${part("hour")}:${part("minute")}`;
}

/** Read a field of a form in a zone. */
export function fromField(text: string, zone: Zone): number | null {
  const asUtc = Date.parse(`${text}Z`);
  if (Number.isNaN(asUtc)) return null;
  if (!zone) return Date.parse(text);
  // Twice: the offset at the guess may be that of the other side of a change of clocks.
  let guess = asUtc;
  for (let turn = 0; turn < 2; turn += 1) guess += asUtc - Date.parse(`${toField(guess, zone)}Z`);
  return guess;
}

/** From when on a list holds what began then: "" where its standard, the last 24 hours, does. */
export function fromOf(startedAt: number, now: number): string {
  return now - startedAt < 86_400_000 - 60_000 ? "" : String(startedAt);
}
