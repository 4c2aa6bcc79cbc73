/** The line at the foot of the sidebar: whether traffic is being recorded now. */
import { useRead } from "../lib/queries.ts";

interface Status {
  verdict: "ok" | "degraded" | "failing";
  reasons: { level: string; code: string; text: string }[];
  processes: { process: string; is_alive: boolean; in_flight: number }[];
}

/** The verdict, asked every 15 s; every part of the page that wants it shares the answer. */
export function useStatus() {
  return useRead<Status>("/api/status", {}, { every: 15_000 });
}

const LOSS = new Set(["records_lost", "store_unreadable", "journal_damaged", "disk_full"]);

export function Recording() {
  const { data, isError } = useStatus();
  if (isError) return <div role="status"><span className="dot bad" />Not reachable, trying again</div>;
  if (!data) return <div><span className="dot off" />Recording</div>;
  const lost = data.reasons.find((reason) => LOSS.has(reason.code));
  const running = data.processes.reduce((sum, each) => sum + each.in_flight, 0);
  if (lost) return <div role="status"><span className="dot bad" />{lost.text}</div>;
  return (
    <div className="num">
      <span className={`dot ${data.verdict === "ok" ? "" : "warn"}`} />
      Recording{running ? `, ${running} in flight` : ""}
    </div>
  );
}
