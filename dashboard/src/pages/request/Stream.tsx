/** A stream, event by event, and played back as fast as it came. */
import { useInfiniteQuery } from "@tanstack/react-query";
import { useVirtualizer } from "@tanstack/react-virtual";
import { useEffect, useMemo, useRef, useState } from "react";
import { get } from "../../lib/api.ts";
import { bytes, count, duration, plural } from "../../lib/format.ts";
import { useMore } from "../../lib/listed.ts";
import { vars } from "../../lib/vars.ts";
import { Button } from "../../ui/Button.tsx";
import { Segments } from "../../ui/Fields.tsx";
import { EmptyState, ErrorState, Skeleton, SkeletonRows, Unread } from "../../ui/States.tsx";
import { pathOf, type Detail, type Events, type StreamEvent } from "./api.ts";
import { Missing } from "./Conversation.tsx";
import { Notice } from "./Notice.tsx";

/** Ask for all events of a stream, page by page; `total` is known with the first. */
export function useEvents(id: string, isOn: boolean) {
  const pages = useInfiniteQuery({
    queryKey: ["events", id],
    queryFn: ({ pageParam, signal }) => get<Events>(pathOf(id, "/events"), { from: pageParam }, signal),
    initialPageParam: 0,
    getNextPageParam: (last) => (last.from + last.events.length < last.total && last.events.length > 0 ? last.from + last.events.length : undefined),
    enabled: isOn,
    staleTime: Number.POSITIVE_INFINITY,
  });
  const more = useMore(pages);
  useEffect(more, [more]);
  const events = useMemo(() => (pages.data?.pages ?? []).flatMap((page) => page.events), [pages.data]);
  return { pages, events, first: pages.data?.pages[0] };
}

export function StreamTab({ detail, stream }: { detail: Detail; stream: ReturnType<typeof useEvents> }) {
  const { pages, events, first } = stream;
  const [chosen, choose] = useState<number | null>(null);
  if (pages.isError && !first) return <div className="rq-pad"><ErrorState error={pages.error} what="The stream could not be read" onRetry={() => void pages.refetch()} /></div>;
  if (!first) return <div className="rq-pad"><Skeleton height="120px" /><SkeletonRows rows={8} /></div>;
  if (first.total === 0) {
    if (detail.kept.response.state === "none") return <Missing side="response" kept={detail.kept.response} />;
    return <EmptyState title="Not a stream">{detail.streaming ? "No event of it was stored." : "The answer came in one piece: the Response tab shows it."}</EmptyState>;
  }
  return (
    <div className="rq-stream">
      <Missing side="response" kept={detail.kept.response} />
      {!first.has_times && <Notice>When its events came is not known: it was recorded by an earlier version, or its body was edited.</Notice>}
      {first.has_times && (
        <>
          <Histogram events={first} longest={(at) => choose(at)} />
          <Player events={events} isComplete={events.length === first.total} />
        </>
      )}
      <Unread list={pages} />
      <EventTable events={events} total={first.total} chosen={chosen} hasTimes={first.has_times} />
    </div>
  );
}

function boundName(ms: number): string {
  return ms >= 1000 ? `${ms / 1000} s` : `${ms} ms`;
}

function Histogram({ events, longest }: { events: Events; longest(at: number): void }) {
  const { counts, median_ms, longest_ms, longest_at } = events.gaps;
  const total = counts.reduce((sum, each) => sum + each, 0);
  const most = Math.max(1, ...counts);
  const { bounds_ms: bounds } = events;
  const name = (at: number) => (at === 0 ? `under ${boundName(bounds[0] ?? 1)}` : at === bounds.length ? `over ${boundName(bounds.at(-1) ?? 0)}` : `${boundName(bounds[at - 1] ?? 0)} to ${boundName(bounds[at] ?? 0)}`);
  const summary = total ? `${plural(total, "gap")} between events with output: half under ${duration(median_ms)}, the longest ${duration(longest_ms)}.` : "Too few events to speak of gaps.";
  return (
    <section className="rq-gaps" aria-label="Gaps between events">
      <header>
        <h2>Gaps between tokens</h2>
        <p className="muted">
          {summary}{" "}
          {longest_at !== null && <button type="button" className="link" onClick={() => longest(longest_at)}>Go to the longest</button>}
        </p>
      </header>
      {total > 0 && (
        <table className="rq-histogram num">
          <caption className="sr">How many gaps were how long</caption>
          <tbody>
            <tr>
              {counts.map((each, at) => (
                <td key={at} title={`${name(at)}: ${count(each)}`}>
                  <i style={vars({ share: `${(each / most) * 100}%` })} className={each ? "" : "none"} />
                  <span className="sr">{`${name(at)}: ${count(each)}`}</span>
                </td>
              ))}
            </tr>
            <tr aria-hidden="true">
              {counts.map((_, at) => <td key={at} className="axis">{at < bounds.length ? boundName(bounds[at] ?? 0) : ""}</td>)}
            </tr>
          </tbody>
        </table>
      )}
    </section>
  );
}

type Speed = "1" | "4" | "16";
const SPEEDS: readonly (readonly [Speed, string])[] = [["1", "1×"], ["4", "4×"], ["16", "16×"]];

function Player({ events, isComplete }: { events: readonly StreamEvent[]; isComplete: boolean }) {
  const start = events[0]?.at_ms ?? 0;
  const end = events.at(-1)?.at_ms ?? start;
  const [at, setAt] = useState(end);
  const [isPlaying, play] = useState(false);
  const [speed, setSpeed] = useState<Speed>("1");
  const output = useRef<HTMLDivElement>(null);

  useEffect(() => {
    if (!isPlaying) setAt(end);
  }, [end]); // eslint-disable-line -- what is shown moves with the end only while nobody plays

  useEffect(() => {
    if (!isPlaying) return undefined;
    let frame = 0;
    let last = performance.now();
    const tick = (now: number) => {
      setAt((before) => {
        const next = before + (now - last) * Number(speed);
        last = now;
        return Math.min(next, end);
      });
      frame = requestAnimationFrame(tick);
    };
    frame = requestAnimationFrame(tick);
    return () => cancelAnimationFrame(frame);
  }, [isPlaying, speed, end]);

  useEffect(() => {
    if (isPlaying && at >= end) play(false);
    if (isPlaying && output.current) output.current.scrollTop = output.current.scrollHeight;
  }, [at, end, isPlaying]);

  const shown = useMemo(() => events.filter((event) => event.added !== "other" && (event.at_ms ?? 0) <= at), [events, at]);
  const runs = useMemo(() => gathered(shown), [shown]);
  const onPlay = () => {
    if (!isPlaying && at >= end) setAt(start);
    play(!isPlaying);
  };
  return (
    <section className="rq-player" aria-label="Play back">
      <div className="rq-player-bar">
        <Button icon={isPlaying ? "pause" : "play"} size="small" onClick={onPlay} disabled={!isComplete}>{isPlaying ? "Pause" : at >= end ? "Play" : "Go on"}</Button>
        <Segments<Speed> label="Speed" options={SPEEDS} value={speed} onChange={setSpeed} />
        <input type="range" aria-label="Position" min={0} max={1000} value={end > 0 ? Math.round((at / end) * 1000) : 1000} onChange={(event) => { play(false); setAt((Number(event.target.value) / 1000) * end); }} />
        <span className="num nowrap">{`${duration(at)} of ${duration(end)}`}</span>
      </div>
      <div className="rq-output" ref={output} tabIndex={0} role="log" aria-live="off" aria-label="What had come by then">
        {runs.map((run, key) => <span key={key} className={`run ${run.added} wire`}>{run.text}</span>)}
        {isPlaying && <i className="caret" aria-hidden="true" />}
        {runs.length === 0 && <span className="muted">Nothing yet.</span>}
      </div>
    </section>
  );
}

/** Put what follows in one kind into one run: a few nodes instead of thousands. */
function gathered(events: readonly StreamEvent[]): { added: StreamEvent["added"]; text: string }[] {
  const runs: { added: StreamEvent["added"]; pieces: string[] }[] = [];
  for (const event of events) {
    const last = runs.at(-1);
    if (last?.added === event.added) last.pieces.push(event.text);
    else runs.push({ added: event.added, pieces: [event.text] });
  }
  return runs.map((run) => ({ added: run.added, text: run.pieces.join("") }));
}

const ROW = 28;

function EventTable({ events, total, chosen, hasTimes }: { events: readonly StreamEvent[]; total: number; chosen: number | null; hasTimes: boolean }) {
  const box = useRef<HTMLDivElement>(null);
  const rows = useVirtualizer({ count: events.length, getScrollElement: () => box.current, estimateSize: () => ROW, overscan: 12 });
  useEffect(() => {
    if (chosen !== null) rows.scrollToIndex(chosen, { align: "center" });
  }, [chosen]); // eslint-disable-line -- only a choice scrolls
  const items = rows.getVirtualItems();
  const before = items[0]?.start ?? 0;
  const after = rows.getTotalSize() - (items.at(-1)?.end ?? 0);
  const longest = Math.max(1, ...events.slice(0, 100_000).map((event) => event.gap_ms ?? 0));
  return (
    <div className="rq-events" ref={box} tabIndex={0} role="region" aria-label="Events">
      <table aria-rowcount={total + 1}>
        <thead>
          <tr aria-rowindex={1}>
            <th className="r">#</th>
            {hasTimes && <th className="r">At</th>}
            {hasTimes && <th className="r gap">Gap</th>}
            <th className="r hide-s">Size</th>
            <th className="hide-s">Event</th>
            <th className="text">Added</th>
          </tr>
        </thead>
        <tbody>
          {before > 0 && <tr className="room" style={vars({ h: `${before}px` })}><td /></tr>}
          {items.map((item) => {
            const event = events[item.index];
            if (!event) return null;
            return (
              <tr key={item.key} aria-rowindex={item.index + 2} data-chosen={item.index === chosen ? "true" : undefined}>
                <td className="r faint">{count(item.index + 1)}</td>
                {hasTimes && <td className="r">{event.at_ms === null ? "–" : duration(event.at_ms)}</td>}
                {hasTimes && (
                  <td className="r gap">
                    <i aria-hidden="true" style={vars({ share: `${Math.min(100, ((event.gap_ms ?? 0) / longest) * 100)}%` })} />
                    {event.gap_ms === null ? "" : duration(event.gap_ms)}
                  </td>
                )}
                <td className="r hide-s muted">{bytes(event.size)}</td>
                <td className="muted hide-s"><span className="ellipsis wire">{event.name || "message"}</span></td>
                <td className={`text ${event.added}`}><span className="ellipsis wire">{event.added === "other" ? "" : shownText(event.text)}</span></td>
              </tr>
            );
          })}
          {after > 0 && <tr className="room" style={vars({ h: `${after}px` })}><td /></tr>}
        </tbody>
      </table>
    </div>
  );
}

/** A text on one line, with the ends of lines visible. */
function shownText(text: string): string {
  return text.slice(0, 300).replaceAll("\n", "⏎");
}
