/**
 * Values over time: the only place that knows the drawing library.
 *
 * A gap is not zero, the bucket that is still filling is pale, the period before is dotted, a threshold is dashed and
 * says what it is. All charts of a page share one crosshair; dragging chooses a range. A screen reader gets a sentence
 * and a table.
 */
import { useEffect, useId, useRef, useState } from "react";
import uPlot from "uplot";
import { clock, date } from "../lib/format.ts";
import { useSettings } from "../lib/settings.ts";
import { vars } from "../lib/vars.ts";
import { useZone } from "../lib/zone.ts";
import "./chart.css";

export interface Series {
  name: string;
  /** One for each of `times`; null is a gap. */
  values: readonly (number | null)[];
  /** Name of a token, such as "s1". */
  colour: string;
  /** The period before: dotted and pale. */
  isBefore?: boolean;
  /** Beside the name in the legend. */
  total?: string;
}

export interface TimeChartProps {
  /** One sentence that says what is to be seen. */
  summary: string;
  /** Starts of the buckets, Unix ms. */
  times: readonly number[];
  series: readonly Series[];
  kind?: "line" | "bars";
  /** Bars on top of each other. */
  isStacked?: boolean;
  height?: number;
  /** Writes a value: an axis label, a legend, a cell of the table. */
  format(value: number): string;
  threshold?: { value: number; label: string };
  /** The last bucket is not over yet. */
  isFilling?: boolean;
  hasLegend?: boolean;
  /** Pixels for the labels of values, so that charts above one another share their time axis. */
  axisWidth?: number;
  onRange?(from: number, to: number): void;
}

const CURSOR = "glassline";
const [MINUTE, HOUR, DAY] = [60, 3_600, 86_400];
/** Seconds between two labels of the time axis; never less than a bucket. */
const STEPS = [1, 5, 15, 30, MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY, 28 * DAY];

export function TimeChart(props: TimeChartProps) {
  const { summary, times, series, kind = "line", height = 160, format, hasLegend = series.length > 1 } = props;
  const host = useRef<HTMLDivElement>(null);
  const [at, setAt] = useState<number | null>(null);
  const [hasTable, setTable] = useState(false);
  const zone = useZone();
  const { theme } = useSettings();
  const [scheme, setScheme] = useState(0);
  const latest = useRef(props);
  latest.current = props;
  const id = useId();

  useEffect(() => {
    // What is drawn keeps its colours; on paper they are those of the light theme.
    const media = ["(prefers-color-scheme: dark)", "print"].map((query) => matchMedia(query));
    const turn = () => setScheme((old) => old + 1);
    for (const each of media) each.addEventListener("change", turn);
    return () => media.forEach((each) => each.removeEventListener("change", turn));
  }, []);

  useEffect(() => {
    const element = host.current;
    if (!element || !times.length) return undefined;
    const plot = new uPlot(options(latest.current, element, zone, setAt), data(latest.current), element);
    const watch = new ResizeObserver(() => plot.setSize({ width: element.clientWidth, height: latest.current.height ?? 160 }));
    watch.observe(element);
    return () => {
      watch.disconnect();
      plot.destroy();
    };
  }, [times, series, kind, height, zone, theme, scheme, props.threshold?.value, props.isStacked, props.isFilling]);

  const shown = at === null ? null : times[at];
  return (
    <figure className="chart" aria-labelledby={id}>
      <figcaption id={id} className="sr">{summary}</figcaption>
      {hasLegend && (
        <div className="legend">
          {series.filter((one) => !one.isBefore).map((one) => (
            <span key={one.name}>
              <i className={kind === "line" ? "ln" : ""} style={vars({ colour: `var(--${one.colour})` })} />
              <span className="wire">{one.name}</span> <b>{at === null ? one.total : valueText(one, at, format)}</b>
            </span>
          ))}
          {shown !== null && shown !== undefined && <span className="when">{bucketName(shown, times, zone)}</span>}
        </div>
      )}
      <div ref={host} className="plot" style={vars({ h: `${height}px` })} aria-hidden="true" />
      <details className="chart-table" onToggle={(event) => setTable(event.currentTarget.open)}>
        <summary>Show as a table</summary>
        {hasTable && <ChartTable {...props} zone={zone} />}
      </details>
    </figure>
  );
}

function valueText(one: Series, at: number, format: (value: number) => string): string {
  const value = one.values[at];
  return value === null || value === undefined ? "–" : format(value);
}

function ChartTable({ summary, times, series, format, zone }: TimeChartProps & { zone: string }) {
  return (
    <div className="tbl-scroll" tabIndex={0} role="group" aria-label={summary}>
      <table className="simple">
        <thead>
          <tr>
            <th scope="col">Time</th>
            {series.map((one) => <th scope="col" className="r" key={one.name}>{one.name}</th>)}
          </tr>
        </thead>
        <tbody>
          {times.map((time, at) => (
            <tr key={time}>
              <th scope="row" className="nowrap">{bucketName(time, times, zone)}</th>
              {series.map((one) => <td className="r" key={one.name}>{valueText(one, at, format)}</td>)}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** Sums from the bottom up, so that bars stand on each other; a gap stays one. */
export function stack(series: readonly Pick<Series, "values">[], length: number): (number | null)[][] {
  const below = new Array<number>(length).fill(0);
  return series.map((one) =>
    Array.from({ length }, (_, at) => {
      const value = one.values[at] ?? null;
      if (value === null) return null;
      below[at] = (below[at] ?? 0) + value;
      return below[at] ?? 0;
    }),
  );
}

function data({ times, series, isStacked, kind }: TimeChartProps): uPlot.AlignedData {
  const seconds = times.map((time) => time / 1000);
  // Drawn from the top of the stack down, each over the one before.
  const drawn = isStacked ? stack(series, times.length) : series.map((one) => [...one.values]);
  // A bar of nothing would leave its edge on the axis.
  const values = kind === "bars" ? drawn.map((line, at) => line.map((value, place) => (series[at]?.values[place] === 0 ? null : value))) : drawn;
  if (isStacked) values.reverse();
  return [seconds, ...values] as uPlot.AlignedData;
}

/** Return the colour that a token has here and now. */
function resolve(element: Element, token: string): string {
  const probe = document.createElement("span");
  probe.style.color = `var(--${token})`;
  // Series are told apart by colour even where the system gives all text one.
  probe.style.setProperty("forced-color-adjust", "none");
  element.append(probe);
  const colour = getComputedStyle(probe).color;
  probe.remove();
  return colour;
}

function pale(colour: string, share: number): string {
  const parts = colour.match(/[\d.]+/g);
  return parts && colour.startsWith("rgb") ? `rgb(${parts.slice(0, 3).join(" ")} / ${share})` : colour;
}

/** Return a colour as it looks at 42 % over the surface; opaque, since bars of a stack are drawn over each other. */
function mixed(colour: string, surface: string): string {
  const [front, back] = [colour, surface].map((each) => (each.match(/[\d.]+/g) ?? []).slice(0, 3).map(Number));
  return front && back && front.length === 3 ? `rgb(${front.map((value, at) => Math.round(value * 0.42 + (back[at] ?? 0) * 0.58)).join(" ")})` : colour;
}

function options(props: TimeChartProps, element: HTMLElement, zone: string, onCursor: (at: number | null) => void): uPlot.Options {
  const { times, series, kind = "line", height = 160, format, threshold, isStacked, isFilling, axisWidth, onRange } = props;
  const drawn = isStacked ? [...series].reverse() : series;
  const line = resolve(element, "line");
  const faint = resolve(element, "faint");
  const text = resolve(element, "text");
  const surface = resolve(element, "surface");
  const font = `10.5px ${getComputedStyle(element).fontFamily}`;
  const step = times.length > 1 ? ((times[1] ?? 0) - (times[0] ?? 0)) / 1000 : 3600;
  const axis = { stroke: faint, font, grid: { stroke: line, width: 1 }, ticks: { show: false }, border: { show: false } };
  return {
    width: element.clientWidth || 400,
    height,
    padding: [8, kind === "bars" ? 0 : 18, 0, 0],
    legend: { show: false },
    tzDate: (second) => (zone ? uPlot.tzDate(new Date(second * 1000), zone) : new Date(second * 1000)),
    cursor: {
      sync: { key: CURSOR, setSeries: false },
      points: { show: kind === "line", size: 6 },
      drag: { x: onRange !== undefined, y: false, setScale: false },
      y: false,
    },
    select: { show: onRange !== undefined, left: 0, top: 0, width: 0, height: 0 },
    scales: {
      x: { time: true, range: (_, low, high) => (kind === "bars" ? [low - step / 2, high + step / 2] : [low, high]) },
      y: {
        range: (_, __, high) => {
          const top = Math.max(high ?? 0, threshold?.value ?? 0);
          return [0, top > 0 ? top * 1.08 : 1];
        },
      },
    },
    axes: [
      { ...axis, grid: { show: false }, size: 26, gap: 7, space: 70, incrs: STEPS.filter((each) => each >= step), values: (_, splits) => timeLabels(splits, zone), ...(step >= DAY ? { splits: (plot: uPlot) => spread(times, plot.width / 70) } : {}) },
      { ...axis, size: (_, labels) => axisWidth ?? 12 + 6.2 * Math.max(3, ...(labels ?? []).map((label) => label.length)), gap: 6, space: 34, values: (_, splits) => splits.map((value) => format(value)) },
    ],
    series: [
      {},
      ...drawn.map((one): uPlot.Series => {
        const colour = resolve(element, one.colour);
        if (kind === "bars") {
          return { label: one.name, stroke: surface, width: isStacked ? 1 : 0, fill: colour, points: { show: false }, paths: bars(times.length, isFilling ?? false, colour, mixed(colour, surface), surface) };
        }
        return {
          label: one.name, stroke: one.isBefore ? pale(colour, 0.5) : colour, width: one.isBefore ? 1.4 : 1.8, spanGaps: false,
          ...(one.isBefore ? { dash: [1.5, 3.5] } : {}),
          points: { show: true, size: 5, width: 0, fill: colour, filter: isolated },
        };
      }),
    ],
    hooks: {
      setCursor: [(plot) => onCursor(plot.cursor.idx ?? null)],
      setSelect: [
        (plot) => {
          if (plot.select.width < 4) return;
          const from = plot.posToVal(plot.select.left, "x") * 1000;
          const to = plot.posToVal(plot.select.left + plot.select.width, "x") * 1000;
          plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          onRange?.(Math.floor(from), Math.ceil(to));
        },
      ],
      draw: threshold ? [(plot) => drawThreshold(plot, threshold, { line: pale(text, 0.65), label: faint, surface, font })] : [],
    },
  };
}

/** Bars with the last one pale while it fills. */
function bars(length: number, isFilling: boolean, fill: string, paleFill: string, surface: string): uPlot.Series.PathBuilder {
  const all = uPlot.paths.bars?.({ size: [0.82, 60], align: 0, gap: 0 });
  if (!all) throw new Error("the chart library draws no bars");
  if (!isFilling) return all;
  const faded = uPlot.paths.bars?.({
    size: [0.82, 60],
    align: 0,
    disp: {
      fill: { unit: 3, values: () => Array.from({ length }, (_, at) => (at === length - 1 ? paleFill : fill)) },
      stroke: { unit: 3, values: () => Array.from({ length }, () => surface) },
    },
  });
  return faded ?? all;
}

/** Points only where a value has no neighbour to be joined with. */
function isolated(plot: uPlot, series: number): number[] {
  const values = plot.data[series] ?? [];
  return [...values.keys()].filter((at) => values[at] != null && values[at - 1] == null && values[at + 1] == null);
}

function drawThreshold(plot: uPlot, threshold: { value: number; label: string }, colours: { line: string; label: string; surface: string; font: string }): void {
  const y = Math.round(plot.valToPos(threshold.value, "y", true));
  const { left, width } = plot.bbox;
  const ratio = devicePixelRatio;
  const { ctx } = plot;
  ctx.save();
  ctx.strokeStyle = colours.line;
  ctx.lineWidth = ratio;
  ctx.setLineDash([4 * ratio, 4 * ratio]);
  ctx.beginPath();
  ctx.moveTo(left, y);
  ctx.lineTo(left + width, y);
  ctx.stroke();
  ctx.font = colours.font.replace(/^[\d.]+/, (size) => String(Number(size) * ratio));
  const room = ctx.measureText(threshold.label).width + 8 * ratio;
  ctx.fillStyle = colours.surface;
  ctx.fillRect(left + 6 * ratio, y - 16 * ratio, room, 13 * ratio);
  ctx.fillStyle = colours.label;
  ctx.textBaseline = "bottom";
  ctx.textAlign = "left";
  ctx.fillText(threshold.label, left + 10 * ratio, y - 3 * ratio);
  ctx.restore();
}

/** Labels of the time axis: the time of day, or the date where a day begins or steps are days. */
export function timeLabels(splits: readonly number[], zone: string): string[] {
  const step = splits.length > 1 ? (splits[1] ?? 0) - (splits[0] ?? 0) : 0;
  return splits.map((second) => {
    const ms = second * 1000;
    if (step >= DAY) return date(ms, dayZone(ms, zone));
    const time = clock(ms, zone, step < MINUTE ? "s" : "min");
    return time === "00:00" ? date(ms, zone) : time;
  });
}

/** Days are counted in UTC: a bucket that begins at its midnight bears its date, wherever somebody looks from. */
function dayZone(ms: number, zone: string): string {
  return ms % (DAY * 1000) === 0 ? "UTC" : zone;
}

/** Return the starts of buckets, in seconds, so many at most, evenly chosen back from the newest. */
function spread(times: readonly number[], most: number): number[] {
  const every = Math.max(1, Math.ceil(times.length / Math.max(1, Math.floor(most))));
  return times.filter((_, at) => (times.length - 1 - at) % every === 0).map((ms) => ms / 1000);
}

/** Return when a bucket is. */
function bucketName(ms: number, times: readonly number[], zone: string): string {
  const isDay = times.length > 1 && (times[1] ?? 0) - (times[0] ?? 0) >= DAY * 1000;
  return isDay ? date(ms, dayZone(ms, zone)) : `${date(ms, zone)} ${clock(ms, zone, "min")}`;
}
