import type { CSSProperties } from "react";

/** Custom properties for an element: the only styles that are not in a style sheet. */
export function vars(values: Readonly<Record<string, string | number | undefined>>): CSSProperties {
  return Object.fromEntries(Object.entries(values).flatMap(([name, value]) => (value === undefined ? [] : [[`--${name}`, String(value)]]))) as CSSProperties;
}
