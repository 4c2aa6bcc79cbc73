import { vars } from "../lib/vars.ts";

export interface SparklineProps {
  /** null: no data, drawn as a gap. */
  values: readonly (number | null)[];
  /** What the line shows, in a sentence. */
  label: string;
  colour?: string;
  threshold?: number;
  height?: number;
  hasArea?: boolean;
  /** Top of the scale, when several lines share one. */
  most?: number;
}

const WIDTH = 400;

/** Return the path of a line with gaps. A value between two gaps becomes a dot. */
export function linePath(values: readonly (number | null)[], width: number, height: number, most: number): string {
  const step = values.length > 1 ? width / (values.length - 1) : 0;
  let path = "";
  let isOpen = false;
  for (const [at, value] of values.entries()) {
    if (value === null || !Number.isFinite(value)) {
      isOpen = false;
      continue;
    }
    const x = (at * step).toFixed(1);
    const y = (4 + (height - 4) * (1 - Math.min(1, Math.max(0, value / most)))).toFixed(1);
    const isAlone = !isOpen && (values[at + 1] ?? null) === null;
    path += isAlone ? `M${x} ${y}h.01` : `${isOpen ? "L" : "M"}${x} ${y}`;
    isOpen = true;
  }
  return path;
}

/** A small line without axes, with its threshold drawn in. */
export function Sparkline({ values, label, colour = "var(--s1)", threshold, height = 54, hasArea = true, most }: SparklineProps) {
  const top = most ?? Math.max(...values.map((value) => value ?? 0), (threshold ?? 0) * 1.15, 1e-12);
  const path = linePath(values, WIDTH, height, top);
  const level = threshold === undefined ? null : 4 + (height - 4) * (1 - threshold / top);
  const isWhole = !values.includes(null) && values.length > 1;
  return (
    <svg className="sparkline" viewBox={`0 0 ${WIDTH} ${height}`} preserveAspectRatio="none" role="img" aria-label={label} style={vars({ colour, h: `${height}px` })}>
      {hasArea && isWhole && <path className="area" d={`${path}L${WIDTH} ${height}L0 ${height}Z`} />}
      {level !== null && <line className="threshold" x1="0" x2={WIDTH} y1={level} y2={level} />}
      <path className="line" d={path} />
    </svg>
  );
}
