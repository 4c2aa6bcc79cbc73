/** When the requests were: bars over time with the failures at their base. Dragging zooms in, a double click out. */
import { useRef, useState, type KeyboardEvent, type PointerEvent } from "react";
import { serverNow } from "../../lib/boot.ts";
import { clock, count, date, isSameDay, plural, type Zone } from "../../lib/format.ts";
import type { Params } from "../../lib/path.ts";
import { useRead } from "../../lib/queries.ts";
import { vars } from "../../lib/vars.ts";
import { useZone } from "../../lib/zone.ts";

interface Bars {
  from: number;
  to: number;
  start: number;
  width_ms: number;
  requests: number[];
  failed: number[];
  looked_to: number | null;
}

const HEIGHT = 44;
const LEAST_DRAG_PX = 5;
const TICKS = 5;

export interface HistogramProps {
  params: Params;
  /** false: do not ask yet. */
  isOn: boolean;
  /** How often it is drawn anew, ms. */
  every?: number;
  onZoom(from: number, to: number): void;
}

export function Histogram({ params, isOn, every, onZoom }: HistogramProps) {
  const zone = useZone();
  const box = useRef<HTMLDivElement>(null);
  const [drag, setDrag] = useState<readonly [number, number] | null>(null);
  const began = useRef<number | null>(null);
  const [at, setAt] = useState<number | null>(null);
  const { data, isError } = useRead<Bars>("/api/requests/histogram", { ...params, buckets: 120 }, { enabled: isOn, ...(every ? { every } : {}) });
  const bars = data?.requests ?? [];
  const span = data ? Math.max(1, data.to - data.from) : 1;
  const most = Math.max(1, ...bars);
  const shareOf = (ms: number) => (data ? (ms - data.from) / span : 0);
  const shareAt = (x: number) => {
    const area = box.current?.getBoundingClientRect();
    return area ? Math.min(1, Math.max(0, (x - area.left) / area.width)) : 0;
  };
  const barAt = (share: number) => (data ? Math.floor((data.from + share * span - data.start) / data.width_ms) : 0);
  const msOf = (share: number) => Math.round((data?.from ?? 0) + share * span);

  const zoomOut = () => {
    if (!data) return;
    const to = Math.min(serverNow(), data.to + span);
    onZoom(Math.round(to - 3 * span), Math.round(to));
  };
  const onPointerDown = (event: PointerEvent<HTMLDivElement>) => {
    if (event.button !== 0) return;
    event.currentTarget.setPointerCapture(event.pointerId);
    began.current = shareAt(event.clientX);
  };
  const onPointerMove = (event: PointerEvent) => {
    const share = shareAt(event.clientX);
    setAt(barAt(share));
    if (began.current !== null) setDrag([began.current, share]);
  };
  const stop = () => {
    began.current = null;
    setDrag(null);
  };
  const onPointerUp = (event: PointerEvent) => {
    if (began.current === null) return;
    const ends = [began.current, shareAt(event.clientX)].toSorted((one, other) => one - other) as [number, number];
    const width = box.current?.clientWidth ?? 0;
    stop();
    if (data && (ends[1] - ends[0]) * width >= LEAST_DRAG_PX) onZoom(msOf(ends[0]), msOf(ends[1]));
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (!data) return;
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step) setAt(Math.min(bars.length - 1, Math.max(0, (at ?? (step > 0 ? -1 : bars.length)) + step)));
    else if (event.key === "Enter" && at !== null) onZoom(data.start + at * data.width_ms, data.start + (at + 1) * data.width_ms);
    else if (event.key === "-") zoomOut();
    else return;
    event.preventDefault();
    event.stopPropagation();
  };

  const requests = bars.reduce((sum, each) => sum + each, 0);
  const failed = (data?.failed ?? []).reduce((sum, each) => sum + each, 0);
  const marked = at !== null && data && at >= 0 && at < bars.length ? at : null;
  return (
    <section className="card histogram" aria-label="Requests over time" data-failed={isError}>
      <div
        className="bars"
        ref={box}
        role="img"
        tabIndex={0}
        aria-label={`${plural(requests, "request")}, ${count(failed)} failed. Arrow keys go through the bars, Enter zooms in, minus zooms out.`}
        onPointerDown={onPointerDown}
        onPointerMove={onPointerMove}
        onPointerUp={onPointerUp}
        onPointerLeave={() => !drag && setAt(null)}
        onPointerCancel={stop}
        onDoubleClick={zoomOut}
        onKeyDown={onKeyDown}
        onBlur={() => setAt(null)}
      >
        <svg viewBox={`0 0 1000 ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
          {data &&
            bars.map((requests_, number) => {
              const left = Math.max(0, shareOf(data.start + number * data.width_ms)) * 1000;
              const right = Math.min(1, shareOf(data.start + (number + 1) * data.width_ms)) * 1000;
              const bad = data.failed[number] ?? 0;
              if (!requests_ || right <= left) return null;
              const high = Math.max(1.5, (requests_ / most) * HEIGHT);
              const low = bad ? Math.max(3, (bad / most) * HEIGHT) : 0;
              const gap = Math.min(1.6, (right - left) / 4);
              const isOpen = data.start + (number + 1) * data.width_ms > data.to;
              return (
                <g key={number} className={[isOpen ? "open" : "", number === marked ? "at" : ""].filter(Boolean).join(" ")}>
                  <rect x={left} width={right - left - gap} y={HEIGHT - high} height={high} />
                  {bad > 0 && <rect className="failed" x={left} width={right - left - gap} y={HEIGHT - low} height={low} />}
                </g>
              );
            })}
        </svg>
        {data?.looked_to && <i className="unread" style={vars({ to: `${shareOf(data.looked_to) * 100}%` })} />}
        {drag && <i className="brush" style={vars({ from: `${Math.min(...drag) * 100}%`, to: `${(1 - Math.max(...drag)) * 100}%` })} />}
      </div>
      <div className="axis num" aria-hidden="true">
        {data && Array.from({ length: TICKS }, (_, tick) => <span key={tick}>{tickName(data.from + (span * tick) / TICKS, span, zone)}</span>)}
        {data && <span>{Math.abs(data.to - serverNow()) < Math.max(60_000, span / 100) ? "now" : tickName(data.to, span, zone)}</span>}
      </div>
      <p className="said num" role="status">
        {data && marked !== null ? <Bar data={data} at={marked} zone={zone} /> : data?.looked_to ? `Counted back to ${date(data.looked_to, zone)} ${clock(data.looked_to, zone, "min")}` : ""}
      </p>
    </section>
  );
}

function Bar({ data, at, zone }: { data: Bars; at: number; zone: Zone }) {
  const start = data.start + at * data.width_ms;
  const precision = data.width_ms < 60_000 ? "s" : "min";
  const day = isSameDay(start, serverNow(), zone) ? "" : `${date(start, zone)} `;
  const failed = data.failed[at] ?? 0;
  return (
    <>
      {day}{clock(start, zone, precision)}–{clock(start + data.width_ms, zone, precision)}: {plural(data.requests[at] ?? 0, "request")}
      {failed > 0 && <span className="bad">, {count(failed)} failed</span>}
    </>
  );
}

function tickName(ms: number, span: number, zone: Zone): string {
  const day = 86_400_000;
  if (span <= 15 * 60_000) return clock(ms, zone, "s");
  if (span <= 1.5 * day) return clock(ms, zone, "min");
  return span <= 7 * day ? `${date(ms, zone)} ${clock(ms, zone, "min")}` : date(ms, zone);
}
