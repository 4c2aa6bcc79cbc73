import { useEffect, useState } from "react";
import { Link } from "wouter";
import { may } from "../../lib/boot.ts";
import { count, moneyChange, moneyNano, plural } from "../../lib/format.ts";
import { address, pageOf } from "../../lib/path.ts";
import { useRead } from "../../lib/queries.ts";
import { choice, text, useUrlState, whole } from "../../lib/url.ts";
import { Button } from "../../ui/Button.tsx";
import { Card } from "../../ui/Card.tsx";
import { Chip } from "../../ui/Chip.tsx";
import { Select } from "../../ui/Fields.tsx";
import { EmptyState, Loaded, SkeletonRows } from "../../ui/States.tsx";
import { Time } from "../../ui/Time.tsx";
import { quoted } from "../requests/filter.ts";
import type { Price, Prices as Listed, Repriced, Unpriced } from "./model.ts";
import { Scroll, Yaml } from "./parts.tsx";

const STATE = { q: text("", "replace"), provider: text(""), offset: whole(0), span: choice(["7d", "30d", "90d"], "30d") } as const;
const PAGE = 100;

/** What models cost, which have no price, and what another price would change. */
export function Prices() {
  return (
    <div className="settings-stack">
      <Wanting />
      <Table />
      {may("editor") && <Reprice />}
    </div>
  );
}

function Wanting() {
  const [{ span }, setState] = useUrlState(STATE);
  const answer = useRead<{ models: Unpriced[]; total: number }>("/api/prices/unpriced", { from: `now-${span}` });
  return (
    <Card title="Models without a price" end={<Select label="Over" isLabelHidden value={span} onChange={(value) => setState({ span: value })} options={[["7d", "last 7 days"], ["30d", "last 30 days"], ["90d", "last 90 days"]]} />}>
      <Loaded answer={answer} what="The models could not be read">
        {({ models, total }) =>
          models.length === 0 ? (
            <p className="muted">None: every request of the last {span.replace("d", " days")} has a price.</p>
          ) : (
            <>
              <p className="caption">{plural(total, "request")} cost something that nobody knows. Give these models a price, and reprice what is stored.</p>
              <Scroll label="Models without a price">
                <table className="simple">
                  <thead><tr><th>Model</th><th className="r">Requests</th><th className="r">Tokens in → out</th><th>Upstream</th><th>Why</th><th>Last used</th></tr></thead>
                  <tbody>
                    {models.map((each) => (
                      <tr key={each.model}>
                        <th className="wire">{each.example ? <Link className="link" href={pageOf.requests(`unpriced:true${each.model ? ` model:${quoted(each.model)}` : ""}`, { from: `now-${span}` })}>{each.model || "no model named"}</Link> : each.model || "no model named"}</th>
                        <td className="r">{count(each.requests)}</td>
                        <td className="r nowrap">{count(each.input_tokens)} → {count(each.output_tokens)}</td>
                        <td className="wire">{each.upstream ?? "–"}</td>
                        <td className="wire">{each.reason ?? "–"}</td>
                        <td className="nowrap">{each.last_used_ms ? <Time ms={each.last_used_ms} isRelative /> : "–"}</td>
                      </tr>
                    ))}
                  </tbody>
                </table>
              </Scroll>
              <Yaml text={`pricing:\n  overrides:\n${models.map((each) => `    ${each.override}`).join("\n")}`}>
                A price for each, to be completed and put into the configuration file. {models.some((each) => each.near) && "Where a name is nearly that of a listed model, its price is proposed: look whether that is right."}
              </Yaml>
            </>
          )
        }
      </Loaded>
    </Card>
  );
}

function Table() {
  const [{ q, provider, offset }, setState] = useUrlState(STATE);
  const [typed, setTyped] = useState(q);
  // Whoever comes back here, or follows a link, finds what the address says.
  useEffect(() => setTyped(q), [q]);
  useEffect(() => {
    const timer = setTimeout(() => typed !== q && setState({ q: typed, offset: 0 }), 150);
    return () => clearTimeout(timer);
  }, [typed, q, setState]);
  const answer = useRead<Listed>("/api/prices", { q, provider, offset, limit: PAGE });
  return (
    <Card title="Prices in force" end={answer.data && `${answer.data.version}; US dollars per million tokens`}>
      <div className="settings-bar">
        <label className="sr" htmlFor="price-q">Search prices</label>
        <input id="price-q" className="input" type="search" placeholder="Search models" value={typed} onChange={(event) => setTyped(event.target.value)} />
        <Select label="Provider" isLabelHidden value={provider} onChange={(value) => setState({ provider: value, offset: 0 })} options={[["", "all providers"], ...(answer.data?.providers ?? (provider ? [provider] : [])).map((name) => [name, name] as const)]} />
      </div>
      <Loaded answer={answer} what="The prices could not be read" skeleton={<SkeletonRows rows={10} />}>
        {(found) => (
          <>
            {found.overrides.length > 0 && (
              <details className="st-overrides" open>
                <summary>{plural(found.overrides.length, "override")} in front of the table</summary>
                <ol>{found.overrides.map((rule, at) => <li key={at}><span className="muted">{at + 1}</span> {Object.entries(rule).map(([name, value]) => <Chip key={name} name={name}>{String(value)}</Chip>)}</li>)}</ol>
              </details>
            )}
            {found.prices.length === 0 ? (
              <EmptyState title="No price like this" action={<Button onClick={() => { setTyped(""); setState({ q: "", provider: "", offset: 0 }); }}>Show all prices</Button>}>No model of {provider || "any provider"} has &ldquo;{q}&rdquo; in its name. A model of your own gets its price from an override.</EmptyState>
            ) : (
              <Scroll label="Prices">
                <table className="simple st-prices">
                  <thead><tr><th>Model</th><th>Provider</th><th className="r">Input</th><th className="r">Output</th><th className="r">Cache read</th><th className="r">Cache write</th><th>Also</th><th>Since</th></tr></thead>
                  <tbody>{found.prices.map((price) => <Row key={`${price.provider}/${price.model}`} price={price} />)}</tbody>
                </table>
              </Scroll>
            )}
            <div className="st-pager">
              <a className="btn small" href={address("/api/prices.csv", { q, provider })} download>CSV</a>
              <span className="caption num">{found.total ? `${count(offset + 1)} to ${count(Math.min(offset + PAGE, found.total))} of ${count(found.total)}` : ""}</span>
              <Button size="small" disabled={offset === 0} onClick={() => setState({ offset: Math.max(0, offset - PAGE) })}>Previous</Button>
              <Button size="small" disabled={offset + PAGE >= found.total} onClick={() => setState({ offset: offset + PAGE })}>Next</Button>
            </div>
          </>
        )}
      </Loaded>
    </Card>
  );
}

function Row({ price }: { price: Price }) {
  return (
    <tr className={price.override === null ? "" : "st-overridden"}>
      <th className="wire">{price.model} {price.override !== null && <Chip isPlain>override {price.override + 1} goes before</Chip>}</th>
      <td>{price.provider}</td>
      <td className="r">{dollars(price.input)}</td>
      <td className="r">{dollars(price.output)}</td>
      <td className="r">{dollars(price.cache_read)}</td>
      <td className="r">{dollars(price.cache_write)}</td>
      <td className="muted st-also" title={alsoOf(price)}>{alsoOf(price)}</td>
      <td className="nowrap">{price.effective_from ?? ""}{price.is_filled && <span className="muted" title="Part of it is from our own list of what the published table lacks"> +</span>}</td>
    </tr>
  );
}

/** What else a model's price says: other units, and what a long prompt changes. */
function alsoOf(price: Price): string {
  return [price.steps, ...Object.entries(price.others).map(([name, amount]) => otherPrice(name, amount))].filter(Boolean).join("; ");
}

/** A price of something else than plain tokens: "web searches $10 per 1,000". */
function otherPrice(key: string, amount: string): string {
  const units = [["_mtok", ""], ["_kcount", " per 1,000"], ["_mchars", " per million characters"], ["_kpages", " per 1,000 pages"], ["_hours", " per hour"], ["_seconds", " per second"]] as const;
  const [ending, per] = units.find(([end]) => key.endsWith(end)) ?? ["", " each"];
  return `${key.slice(0, key.length - ending.length).replaceAll("_", " ")} $${amount}${per}`;
}

function dollars(amount: string | null): string {
  return amount === null ? "–" : `$${amount}`;
}

/** What a reprice would change, tried out with the file as it stands on the disk. */
function Reprice() {
  const [span, setSpan] = useState<"7d" | "30d" | "90d">("7d");
  const [asked, setAsked] = useState(0);
  const answer = useRead<Repriced>("/api/prices/reprice", { from: `now-${span}`, n: asked || null }, { enabled: asked > 0, fresh: true });
  const total = answer.data?.total;
  return (
    <Card title="What another price would change">
      <p>Costs are kept as they were computed. After prices changed in the configuration file, <code>glassline reprice</code> computes them anew; tried out here, it changes nothing. The file is read as it stands now, loaded or not.</p>
      <div className="settings-bar">
        <Select<"7d" | "30d" | "90d"> label="Over" isLabelHidden value={span} onChange={setSpan} options={[["7d", "last 7 days"], ["30d", "last 30 days"], ["90d", "last 90 days"]]} />
        <Button disabled={asked > 0 && answer.isFetching} onClick={() => setAsked(asked + 1)}>{asked > 0 && answer.isFetching ? "Looking through the records…" : "Try it out"}</Button>
      </div>
      {asked > 0 && (
        <Loaded answer={answer} what="It could not be tried out">
          {({ changes }) =>
            !total || total.changed === 0 ? (
              <p role="status">Nothing would change in {plural(total?.requests ?? 0, "record")}.</p>
            ) : (
              <>
                <p role="status">{plural(total.changed, "record")} of {count(total.requests)} would change: {moneyNano(total.before_nano_usd)} → {moneyNano(total.after_nano_usd)} ({moneyChange((total.after_nano_usd - total.before_nano_usd) / 1e9)}); {plural(total.unpriced_before, "request")} without a price → {count(total.unpriced_after)}.</p>
                <Scroll label="What would change">
                  <table className="simple">
                    <thead><tr><th>Day</th><th>Model</th><th className="r">Changed</th><th className="r">Before</th><th className="r">After</th><th className="r">Difference</th></tr></thead>
                    <tbody>{changes.map((each) => <tr key={`${each.day} ${each.model}`}><td>{each.day}</td><th className="wire">{each.model}</th><td className="r">{count(each.changed)}</td><td className="r">{moneyNano(each.before_nano_usd || (each.unpriced_before ? null : 0))}</td><td className="r">{moneyNano(each.after_nano_usd || (each.unpriced_after ? null : 0))}</td><td className="r">{moneyChange((each.after_nano_usd - each.before_nano_usd) / 1e9)}</td></tr>)}</tbody>
                  </table>
                </Scroll>
                <Yaml text={`glassline reprice --from now-${span}`}>To do it:</Yaml>
              </>
            )
          }
        </Loaded>
      )}
    </Card>
  );
}
