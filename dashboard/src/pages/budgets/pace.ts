/** The pace chart: what was spent, where it goes at the latest rate, and what an even pace would be. */
import type { Series } from "../../ui/TimeChart.tsx";
import type { Budget } from "./budget.ts";

export interface PaceChart {
  times: number[];
  series: Series[];
  /** A limit far above what is drawn would leave nothing of it to be seen. */
  isLimitShown: boolean;
}

const AHEAD = 40;
const NANO = 1e9;

/** Return the lines of the chart, up to the end of the window. */
export function paceChart(budget: Budget, spent: { at: number[]; nano_usd: number[] }, now: number): PaceChart {
  const { resets_at: end, window_start: start, limit_nano_usd: limit, pace } = budget;
  const past = spent.at;
  const goesOn = end !== null && end > now && pace.lately_ms > 0;
  const step = goesOn ? (end - now) / AHEAD : 0;
  const ahead = goesOn ? Array.from({ length: AHEAD }, (_, at) => Math.round(now + step * (at + 1))) : [];
  const times = [...past, ...ahead];
  const actual: (number | null)[] = [...spent.nano_usd.map((nano) => nano / NANO), ...ahead.map(() => null)];
  const series: Series[] = [{ name: "Spent", values: actual, colour: "s1", total: "" }];
  let most = Math.max(0, ...actual.map((value) => value ?? 0));
  if (goesOn) {
    const rate = pace.lately_nano_usd / pace.lately_ms;
    const last = spent.nano_usd.at(-1) ?? 0;
    const projected = [...past.map((_, at) => (at === past.length - 1 ? last / NANO : null)), ...ahead.map((time) => (last + rate * (time - now)) / NANO)];
    series.push({ name: "At this rate", values: projected, colour: "s1", isBefore: true });
    most = Math.max(most, projected.at(-1) ?? 0);
  }
  const isLimitShown = most > 0 && limit / NANO < 4 * most;
  if (end !== null && start !== null && isLimitShown) {
    series.push({ name: "Even pace", values: times.map((time) => ((limit / NANO) * (time - start)) / (end - start)), colour: "s5", isBefore: true });
  }
  return { times, series, isLimitShown };
}
