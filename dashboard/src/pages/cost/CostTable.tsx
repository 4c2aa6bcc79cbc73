import { useMemo } from "react";
import { Link } from "wouter";
import { boot } from "../../lib/boot.ts";
import { change as changeText, count, money, percent, plural, short } from "../../lib/format.ts";
import { address, pageOf, type Params } from "../../lib/path.ts";
import { colours, OTHERS } from "../../lib/series.ts";
import { vars } from "../../lib/vars.ts";
import { Button } from "../../ui/Button.tsx";
import { CopyButton } from "../../ui/CopyButton.tsx";
import { filterFor, GROUPING_NAMES, measured, MEASURE_NAMES, NOBODY, type CostRow, type Costs, type Measure } from "./costs.ts";

const SHOWN = 25;

interface CostTableProps {
  costs: Costs;
  by: string;
  range: { from: string; to: string };
  q: string;
  measure: Measure;
  compares: boolean;
  /** The chart above has the same groups in the same colours. */
  hasSwatch: boolean;
  sort: string;
  onSort(sort: string): void;
  isWhole: boolean;
  onWhole(): void;
}

const COLUMNS: readonly Measure[] = ["cost", "requests", "tokens", "cost_per_request", "cache_saving"];

/** Groups, with their share of the measure, its change, and what each request cost. */
export function CostTable(props: CostTableProps) {
  const { costs, by, range, q, measure, compares, hasSwatch, sort, onSort, isWhole, onWhole } = props;
  const rows = useMemo(() => sorted(costs.rows, sort, measure), [costs.rows, sort, measure]);
  const shown = isWhole ? rows : rows.slice(0, SHOWN);
  const whole = rows.reduce((sum, row) => sum + Math.max(0, measured(measure, row) ?? 0), 0);
  const chosen = colours(rows.slice(0, 6).map((row) => nameOf(row)));
  const isShareable = measure !== "cost_per_request";
  const asked: Params = { by, from: range.from, to: range.to, q, compare: compares ? "prev" : "" };
  const head = (name: Measure) => <Sortable key={name} name={name} sort={sort} onSort={onSort} />;
  return (
    <div className="card cost-table">
      <div className="tbl-scroll wide" tabIndex={0} role="group" aria-label="Costs by group">
        <table className="simple">
          <thead>
            <tr>
              <th scope="col">{costs.by.map((name) => GROUPING_NAMES[name] ?? name.replace(/^meta\./, "Tag ")).join(", ")}</th>
              {isShareable && <th scope="col" className="r">Share</th>}
              {head("cost")}
              {compares && <th scope="col" className="r">Change</th>}
              {COLUMNS.slice(1).map(head)}
              <th scope="col" className="r">No price</th>
            </tr>
          </thead>
          <tbody>
            {shown.map((row) => {
              const value = measured(measure, row);
              const before = row.previous ? measured("cost", row.previous) : 0;
              const cost = measured("cost", row);
              const name = nameOf(row);
              const share = whole > 0 && value !== null ? value / whole : null;
              return (
                <tr key={row.group.join("\u0000")}>
                  <th scope="row">
                    {hasSwatch && <i className="swatch" style={vars({ colour: `var(--${chosen.get(name) ?? OTHERS})` })} />}
                    <Name row={row} by={costs.by} range={range} q={q} />
                  </th>
                  {isShareable && <td className="r share"><span style={vars({ share: `${(share ?? 0) * 100}%` })} aria-hidden="true" />{share === null ? "–" : percent(share, 1)}</td>}
                  <td className="r">{money(cost)}</td>
                  {compares && <td className="r muted nowrap">{changeOf(cost, before, row.previous === null)}</td>}
                  <td className="r" title={count(row.requests)}>{short(row.requests)}</td>
                  <td className="r" title={`${count(row.input_tokens)} in, ${count(row.output_tokens)} out`}>{short(row.input_tokens + row.output_tokens)}</td>
                  <td className="r">{row.requests ? money(measured("cost_per_request", row)) : "–"}</td>
                  <td className="r">{row.saving_nano_usd === null ? "–" : money(measured("cache_saving", row))}</td>
                  <td className="r">{row.unpriced ? <span className="warn">{short(row.unpriced)}</span> : ""}</td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
      <div className="tbl-foot">
        <span>{shown.length < rows.length ? `${shown.length} of ${plural(rows.length, "group")}` : plural(rows.length, "group")}</span>
        {shown.length < rows.length && <Button size="small" onClick={onWhole}>Show all</Button>}
        <span className="end no-print">
          <a className="btn small" href={address("/api/cost.csv", asked)} download>CSV</a>
          <a className="btn small" href={address("/api/cost.jsonl", asked)} download>JSON lines</a>
          <CopyButton label="Copy API address" text={() => new URL(address("/api/cost", asked), location.origin + boot.base).href} />
        </span>
      </div>
    </div>
  );
}

function Sortable({ name, sort, onSort }: { name: Measure; sort: string; onSort(sort: string): void }) {
  const direction = sort === name ? "ascending" : sort === `-${name}` ? "descending" : "none";
  return (
    <th scope="col" className="r" aria-sort={direction}>
      <button type="button" onClick={() => onSort(direction === "descending" ? name : `-${name}`)}>
        {MEASURE_NAMES[name]}{direction !== "none" && (direction === "ascending" ? " ↑" : " ↓")}
      </button>
    </th>
  );
}

function Name({ row, by, range, q }: { row: CostRow; by: readonly string[]; range: { from: string; to: string }; q: string }) {
  const filters = by.map((name, at) => filterFor(name, row.group[at] ?? null));
  const name = nameOf(row);
  if (filters.includes(null)) return <span className="wire">{name}</span>;
  const whole = [...(q ? [`(${q})`] : []), ...filters].join(" ");
  return <Link className="wire" href={pageOf.requests(whole, { from: range.from, to: range.to })}>{name}</Link>;
}

function nameOf(row: CostRow): string {
  return row.group.map((value) => value ?? NOBODY).join(", ");
}

function changeOf(cost: number | null, before: number | null, isNew: boolean): string {
  if (isNew) return "new";
  if (cost === null || before === null) return "–";
  return before === 0 ? (cost === 0 ? "0%" : "new") : changeText(cost / before - 1);
}

function sorted(rows: readonly CostRow[], sort: string, measure: Measure): CostRow[] {
  const named = sort.replace(/^-/, "") as Measure;
  const by = COLUMNS.includes(named) ? named : measure;
  const sign = sort.startsWith("-") ? -1 : 1;
  const value = (row: CostRow) => measured(by, row) ?? -1;
  return rows.toSorted((one, other) => sign * (value(one) - value(other)) || other.requests - one.requests);
}
