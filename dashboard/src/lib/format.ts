/**
 * Numbers, money and times as people read them: the only place where they become text.
 *
 * Missing values are never zero: they are a dash, and an unknown price is "no price".
 */

const MINUS = "−";
export const NONE = "–";
export const NO_PRICE = "no price";
const NANO = 1_000_000_000;

const grouped = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

function signed(value: number, write: (size: number) => string): string {
  return value < 0 ? MINUS + write(-value) : write(value);
}

/** Decimals that show three significant digits of a value below 1000. */
function decimals(value: number): number {
  return Math.max(0, 2 - Math.floor(Math.log10(value)));
}

/** Three significant digits, with what rounding up adds taken back: 9.996 is 10.0. */
function significant(value: number): string {
  const rounded = Number(value.toPrecision(3));
  return rounded.toFixed(rounded > 0 ? Math.min(decimals(rounded), 20) : 0);
}

/** Whole numbers: 3,412. */
export function count(value: number | null | undefined): string {
  return value === null || value === undefined ? NONE : signed(Math.round(value), (size) => grouped.format(size));
}

/** Whole numbers in little room: 950, 3,412, 41.2K, 1.2M. */
export function short(value: number | null | undefined): string {
  if (value === null || value === undefined) return NONE;
  return signed(Math.round(value), (size) => {
    if (size < 10_000) return grouped.format(size);
    const unit = [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e3, "K"]] as const;
    const rounded = Number(size.toPrecision(3));
    const [scale, letter] = unit.find(([limit]) => rounded >= limit) ?? [1, ""];
    return `${Number((rounded / scale).toFixed(2))}${letter}`;
  });
}

/** Money in dollars: $5,518, $12.84, $0.0148, $0.0000042, $0; null is "no price". */
export function money(usd: number | null | undefined): string {
  if (usd === null || usd === undefined) return NO_PRICE;
  return signed(usd, (size) => {
    if (size === 0) return "$0";
    if (size >= 99.995) return `$${grouped.format(Math.round(size))}`;
    if (size >= 0.9995) return `$${size.toFixed(2)}`;
    const written = significant(size);
    // Columns of cents line up; of what is far smaller, zeros at the end say nothing.
    return `$${size < 0.001 ? written.replace(/0+$/, "") : written}`;
  });
}

/** Money in nano-dollars, as the store keeps it. */
export function moneyNano(nano: number | null | undefined): string {
  return money(nano === null || nano === undefined ? null : nano / NANO);
}

/** A change of money: +$1.20, −$0.0148. */
export function moneyChange(usd: number): string {
  return usd > 0 ? `+${money(usd)}` : money(usd);
}

/** Durations: 0.6 ms, 612 ms, 4.82 s, 30.0 s, 2 min 14 s, 6 d 4 h. */
export function duration(ms: number | null | undefined): string {
  if (ms === null || ms === undefined) return NONE;
  return signed(ms, (size) => {
    if (size === 0) return "0 ms";
    if (size < 0.95) return `${size < 0.05 ? "<0.1" : size.toFixed(1)} ms`;
    if (size < 999.5) return `${size.toFixed(0)} ms`;
    if (size < 9_995) return `${(size / 1000).toFixed(2)} s`;
    if (size < 59_950) return `${(size / 1000).toFixed(1)} s`;
    return long(Math.round(size / 1000));
  });
}

function long(seconds: number): string {
  const units = [[86_400, "d", 3_600, "h"], [3_600, "h", 60, "min"], [60, "min", 1, "s"]] as const;
  for (const [big, bigName, small, smallName] of units) {
    // Rounded first: 59 min 59.7 s is an hour.
    const rounded = Math.round(seconds / small) * small;
    if (rounded < big) continue;
    const rest = Math.round((rounded % big) / small);
    return rest ? `${Math.floor(rounded / big)} ${bigName} ${rest} ${smallName}` : `${Math.floor(rounded / big)} ${bigName}`;
  }
  return `${seconds} s`;
}

/** A speed: 68.2 tok/s. */
export function rate(value: number | null | undefined, unit = "tok/s"): string {
  if (value === null || value === undefined) return NONE;
  if (value === 0) return `0 ${unit}`;
  return `${value >= 999.5 ? grouped.format(Math.round(value)) : significant(value)} ${unit}`;
}

/** A share of 1: 0.47 %, 94.2 %, and 81 % where fewer than 1,000 were counted. Written without a space. */
export function percent(share: number | null | undefined, of?: number): string {
  if (share === null || share === undefined || Number.isNaN(share)) return NONE;
  return signed(share * 100, (size) => {
    if (size === 0) return "0%";
    if (size < 0.005) return "<0.01%";
    if (size < 9.995) return `${size.toFixed(2)}%`;
    if (of !== undefined && of < 1000) return `${size.toFixed(0)}%`;
    return size >= 999.95 ? `${grouped.format(size)}%` : size === 100 ? "100%" : `${size.toFixed(1)}%`;
  });
}

/** A difference of two shares: −0.06 pts. */
export function points(difference: number): string {
  const size = Math.abs(difference * 100);
  const written = size < 9.995 ? size.toFixed(2) : size.toFixed(1);
  if (Number(written) === 0) return "0 pts";
  return `${difference < 0 ? MINUS : "+"}${written} pts`;
}

/** A relative change: +12%, −3.4%. */
export function change(ratio: number | null | undefined): string {
  if (ratio === null || ratio === undefined || !Number.isFinite(ratio)) return NONE;
  const size = Math.abs(ratio * 100);
  const written = size < 9.95 ? size.toFixed(1) : grouped.format(Math.round(size));
  if (Number(written.replaceAll(",", "")) === 0) return "0%";
  return `${ratio < 0 ? MINUS : "+"}${written}%`;
}

/** Sizes: 640 B, 12.4 KB, 8.10 GB; powers of ten. */
export function bytes(size: number | null | undefined): string {
  if (size === null || size === undefined) return NONE;
  const rounded = size < 1000 ? Math.round(size) : Number(size.toPrecision(3));
  if (rounded < 1000) return `${rounded} B`;
  const unit = [[1e15, "PB"], [1e12, "TB"], [1e9, "GB"], [1e6, "MB"], [1e3, "KB"]] as const;
  const [scale, name] = unit.find(([limit]) => rounded >= limit) ?? [1, "B"];
  return `${significant(rounded / scale)} ${name}`;
}

/** "1 request", "3,412 requests". */
export function plural(number: number, one: string, many = `${one}s`): string {
  return `${count(number)} ${number === 1 ? one : many}`;
}

// --- times -----------------------------------------------------------------------------------------------------------

/** A zone: "" is that of this browser, else "UTC" or a name such as Europe/Paris. */
export type Zone = string;

const formats = new Map<string, Intl.DateTimeFormat>();

function format(zone: Zone, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const key = zone + JSON.stringify(options);
  let known = formats.get(key);
  if (!known) {
    known = new Intl.DateTimeFormat("en-GB", { ...options, hourCycle: "h23", ...(zone ? { timeZone: zone } : {}) });
    formats.set(key, known);
  }
  return known;
}

/** Say whether a zone is one that this browser knows. */
export function isZone(zone: string): boolean {
  try {
    new Intl.DateTimeFormat("en-GB", { timeZone: zone || "UTC" });
    return true;
  } catch {
    return false;
  }
}

/** The time of day: 14:27:34.812, or without the last digits. */
export function clock(ms: number, zone: Zone, precision: "ms" | "s" | "min" = "s"): string {
  const time = format(zone, { hour: "2-digit", minute: "2-digit", ...(precision === "min" ? {} : { second: "2-digit" }) }).format(ms);
  return precision === "ms" ? `${time}.${String(((Math.floor(ms) % 1000) + 1000) % 1000).padStart(3, "0")}` : time;
}

/** A date: 20 Nov, with its year when that is not this one. */
export function date(ms: number, zone: Zone, now: number = Date.now()): string {
  const year = format(zone, { year: "numeric" });
  const isThisYear = year.format(ms) === year.format(now);
  return format(zone, { day: "numeric", month: "short", ...(isThisYear ? {} : { year: "numeric" }) }).format(ms);
}

/** Say whether two instants are on one day. */
export function isSameDay(one: number, other: number, zone: Zone): boolean {
  const day = format(zone, { day: "numeric", month: "numeric", year: "numeric" });
  return day.format(one) === day.format(other);
}

/** An instant: the time, and the date when that is not today. */
export function instant(ms: number, zone: Zone, precision: "ms" | "s" | "min" = "s", now: number = Date.now()): string {
  const time = clock(ms, zone, precision);
  return isSameDay(ms, now, zone) ? time : `${date(ms, zone, now)} ${time}`;
}

/** How long ago: just now, 5 min ago, in 3 h. */
export function relative(ms: number, now: number = Date.now()): string {
  const away = Math.abs(now - ms);
  if (away < 2_000) return "just now";
  const steps = [[60_000, 1_000, "s"], [3_600_000, 60_000, "min"], [2 * 86_400_000, 3_600_000, "h"]] as const;
  const [, unit, name] = steps.find(([limit]) => away < limit) ?? [0, 86_400_000, "days"];
  const written = `${Math.floor(away / unit)} ${name}`;
  return ms <= now ? `${written} ago` : `in ${written}`;
}
