import { Link } from "wouter";
import { moneyNano, percent } from "../../lib/format.ts";
import { pageOf, query } from "../../lib/path.ts";
import { Track } from "../../ui/Card.tsx";
import { levelOf, ownerName, promisedShare, spentShare, windowName, type Budget } from "./budget.ts";
import "./budgets.css";

/** One budget in three lines: what is spent of what, how far that is, and where it goes. */
export function BudgetLine({ budget }: { budget: Budget }) {
  const level = levelOf(budget);
  return (
    <Link className="budget-line" href={pageOf.budget(budget.budget) + query({ scope: budget.scope })}>
      <span className="names">
        <span className="ellipsis"><b className="wire">{budget.budget}</b> <span className="caption wire">{budget.scope ? ownerName(budget) : windowName(budget)}</span></span>
        <span className="num nowrap"><b>{moneyNano(budget.spent_nano_usd)}</b> of {moneyNano(budget.limit_nano_usd)}</span>
      </span>
      <UsedTrack budget={budget} />
      <span className="says">
        <span className={level === "ok" ? "" : level}>{budget.pace.text}</span>
        <span className="nowrap">{usedText(budget)}</span>
      </span>
    </Link>
  );
}

/** How much is spent, and paler how much is promised to requests under way; the mark is the time that is over. */
export function UsedTrack({ budget }: { budget: Budget }) {
  return <Track share={spentShare(budget)} promised={promisedShare(budget)} level={levelOf(budget)} label={`${budget.budget}: spent`} {...(budget.pace.elapsed === null ? {} : { mark: budget.pace.elapsed })} />;
}

export function usedText(budget: Budget): string {
  const promised = promisedShare(budget);
  return `${percent(spentShare(budget), 1)}${promised >= 0.005 ? `, ${percent(promised, 1)} reserved` : ""}`;
}
