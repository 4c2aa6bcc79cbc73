/** The line at the foot of the sidebar: whether traffic is being recorded now. */
import { count, rate } from "../lib/format.ts";
import { useRead } from "../lib/queries.ts";

interface Status {
  verdict: "ok" | "degraded" | "failing";
  reasons: { level: string; code: string; text: string }[];
  tiles: { name: string; requests: number; window_s: number }[];
  processes: { process: string; is_alive: boolean; in_flight: number }[];
}

/** The verdict, asked every 15 s; every part of the page that wants it shares the answer. */
export function useStatus() {
  return useRead<Status>("/api/status", {}, { every: 15_000 });
}

/** Reasons that mean: what passes is not, or not surely, kept. */
const LOSSES = new Set(["records_lost", "store_unreadable", "journal_damaged", "disk_full"]);
const DELAYS = new Set(["recorder_lag", "journal_failures", "disk_low", "gateway_dead", "gateway_not_ready"]);

export function Recording() {
  const { data, isError } = useStatus();
  if (isError) return <div role="status"><span className="dot bad" />Not reachable, trying again</div>;
  if (!data) return <div><span className="dot off" />Recording</div>;
  const lost = data.reasons.find((reason) => LOSSES.has(reason.code));
  if (lost) return <div role="status"><span className="dot bad" /><span className="wire">{lost.text}</span></div>;
  const late = data.reasons.find((reason) => DELAYS.has(reason.code));
  const running = data.processes.reduce((sum, each) => sum + each.in_flight, 0);
  const seen = data.tiles.find((tile) => tile.name === "error_rate");
  const perMinute = seen?.window_s ? (60 * seen.requests) / seen.window_s : 0;
  return (
    <>
      <div className="num"><span className={`dot ${late ? "warn" : ""}`} />Recording, {rate(perMinute, "req/min")}</div>
      <div className="num wire">{late ? late.text : `0 lost, ${count(running)} in flight`}</div>
    </>
  );
}
