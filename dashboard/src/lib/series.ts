/** Colours follow what they stand for: one entity has one colour in every chart of this browser's session. */

const SLOTS = ["s1", "s2", "s3", "s4", "s6", "s7"] as const;
/** Slate: everything that has no colour of its own. */
export const OTHERS = "s5";
export type SeriesColour = (typeof SLOTS)[number] | typeof OTHERS;

const taken = new Map<string, SeriesColour>();

/** Return a stable number for a name (FNV-1a). */
export function hash(name: string): number {
  let sum = 0x811c9dc5;
  for (let at = 0; at < name.length; at += 1) sum = Math.imul(sum ^ name.charCodeAt(at), 0x01000193);
  return sum >>> 0;
}

/** Return a colour for each of the names of one chart; no two alike as long as there are enough. */
export function colours(names: readonly string[]): Map<string, SeriesColour> {
  const chosen = new Map<string, SeriesColour>();
  const used = new Set<SeriesColour>();
  for (const name of names) {
    const known = taken.get(name);
    if (known && !used.has(known)) {
      chosen.set(name, known);
      used.add(known);
    }
  }
  for (const name of names) {
    if (chosen.has(name)) continue;
    const start = hash(name) % SLOTS.length;
    const free = SLOTS.map((_, step) => SLOTS[(start + step) % SLOTS.length] ?? OTHERS).find((slot) => !used.has(slot));
    const colour = free ?? OTHERS;
    chosen.set(name, colour);
    used.add(colour);
    if (free !== undefined && !taken.has(name)) taken.set(name, free);
  }
  return chosen;
}
