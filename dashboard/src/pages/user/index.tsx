/** One user: what it costs over time, on which models, in which conversations, and what went wrong. */
import { lazy, Suspense, useMemo } from "react";
import { Link, useParams } from "wouter";
import { PageHead } from "../../app/Layout.tsx";
import { TimeRange } from "../../app/TimeRange.tsx";
import { Problem } from "../../lib/api.ts";
import { count, money, moneyNano, NONE, percent, plural, short } from "../../lib/format.ts";
import { pageOf, query, readSegment } from "../../lib/path.ts";
import { useRead } from "../../lib/queries.ts";
import { timeParams, useUrlState } from "../../lib/url.ts";
import { Button } from "../../ui/Button.tsx";
import { Card, Facts } from "../../ui/Card.tsx";
import { EmptyState, Loaded, Skeleton } from "../../ui/States.tsx";
import { RequestStatus } from "../../ui/Status.tsx";
import { Money, Time } from "../../ui/Time.tsx";
import { quoted } from "../requests/filter.ts";
import { usePreviews } from "../requests/rows.ts";
import { costOf as costOfSession } from "../sessions/api.ts";
import { costOf, eachOf, filled, pathOf, type Profile } from "../users/api.ts";
import "../users/users.css";

const TimeChart = lazy(() => import("../../ui/TimeChart.tsx").then((module) => ({ default: module.TimeChart })));
const SCHEMA = timeParams("now-30d");
const FAILED = "(-outcome:completed OR status:>=400)";
const NANO = 1_000_000_000;

export default function UserPage() {
  const { id = "" } = useParams();
  const name = readSegment(id);
  const [state, set] = useUrlState(SCHEMA);
  const range = { from: state.from, to: state.to };
  const answer = useRead<Profile>(pathOf(name), { from: range.from, to: range.to === "now" ? "" : range.to }, { every: 30_000 });
  const isGone = answer.error instanceof Problem && answer.error.status === 404;
  const all = pageOf.requests(`user:${quoted(name)}`, range);
  return (
    <div className="user">
      <PageHead
        title={name}
        windowTitle={`User ${name}`}
        crumbs={[["Users", "/users"]]}
        tools={
          <>
            <Link className="btn hide-s" href={all}>All requests</Link>
            <TimeRange range={range} onChange={(chosen) => set(chosen)} />
          </>
        }
      />
      {isGone ? (
        <EmptyState title="No user has this name" action={<Link className="btn" href="/users">All users</Link>}>
          Nothing is stored of them: it was deleted, or is older than <code>retention.records</code>.
        </EmptyState>
      ) : (
        <Loaded answer={answer} what="The user could not be read" skeleton={<Skeleton height="360px" />}>
          {(profile) => <Told profile={profile} range={range} onRange={(from, to) => set({ from: String(from), to: String(to) })} onAnyTime={() => set({ from: "now-90d", to: "now" })} />}
        </Loaded>
      )}
    </div>
  );
}

type Range = Readonly<{ from: string; to: string }>;

function Told({ profile, range, onRange, onAnyTime }: { profile: Profile; range: Range; onRange(from: number, to: number): void; onAnyTime(): void }) {
  const { total } = profile;
  const who = `user:${quoted(profile.id)}`;
  const cost = costOf(total);
  if (!total.requests) {
    return (
      <EmptyState title="Nothing in this time" action={<Button onClick={onAnyTime}>Look at the last 90 days</Button>}>
        {profile.last_at !== null && <>The last request was <Time ms={profile.last_at} isRelative />.</>}
      </EmptyState>
    );
  }
  return (
    <>
      <Facts
        facts={[
          ["Cost", <Money key="cost" nano={cost} />, total.unpriced ? `${plural(total.unpriced, "request")} without a price` : ""],
          ["Requests", <Link key="requests" href={pageOf.requests(who, range)}>{count(total.requests)}</Link>, eachOf(total) === null ? "" : `${moneyNano(eachOf(total))} each`],
          ["Errors", total.errors ? <Link key="errors" className="bad" href={pageOf.requests(`${who} ${FAILED}`, range)}>{count(total.errors)}</Link> : "0", `${percent(total.errors / total.requests, total.requests)} of ${short(total.requests)}`],
          ["Tokens", <>{short(total.input_tokens)} <span className="muted">→ {short(total.output_tokens)}</span></>, ""],
          ["First seen", profile.first_at === null ? NONE : <Time key="first" ms={profile.first_at} precision="min" />, ""],
          ["Last seen", profile.last_at === null ? NONE : <Time key="last" ms={profile.last_at} isRelative />, ""],
        ]}
      />
      <div className="user-grid">
        <Charts profile={profile} range={range} onRange={onRange} />
        <Sessions profile={profile} range={range} />
        <Models profile={profile} range={range} />
        <Failures profile={profile} range={range} />
      </div>
    </>
  );
}

function Charts({ profile, range, onRange }: { profile: Profile; range: Range; onRange(from: number, to: number): void }) {
  const points = useMemo(() => filled(profile), [profile]);
  const times = useMemo(() => points.map((point) => point.start), [points]);
  const spent = useMemo(() => [{ name: "Cost", colour: "s1", values: points.map((point) => point.cost_nano_usd / NANO), total: moneyNano(profile.total.cost_nano_usd) }], [points, profile]);
  const asked = useMemo(
    () => [
      { name: "Failed", colour: "bad", values: points.map((point) => point.errors), total: count(profile.total.errors) },
      { name: "Went well", colour: "s5", values: points.map((point) => point.requests - point.errors), total: count(profile.total.requests - profile.total.errors) },
    ],
    [points, profile],
  );
  const step = profile.step_ms < 86_400_000 ? "hour" : "day";
  const shared = { times, kind: "bars", height: 150, isFilling: range.to === "now", onRange, axisWidth: 62, hasLegend: true } as const;
  return (
    <>
      <Card title={`Cost by ${step}`} end="UTC">
        <Suspense fallback={<Skeleton height="150px" />}>
          <TimeChart {...shared} summary={`Cost by ${step}, ${moneyNano(profile.total.cost_nano_usd)} in all`} series={spent} format={money} />
        </Suspense>
      </Card>
      <Card title={`Requests by ${step}`} end="UTC">
        <Suspense fallback={<Skeleton height="150px" />}>
          <TimeChart {...shared} isStacked summary={`Requests by ${step}: ${count(profile.total.requests)}, of which ${count(profile.total.errors)} failed`} series={asked} format={short} />
        </Suspense>
      </Card>
    </>
  );
}

function Sessions({ profile, range }: { profile: Profile; range: Range }) {
  const ends = useMemo(() => profile.sessions.map((each) => ({ id: each.first_request })), [profile.sessions]);
  const previewOf = usePreviews(ends, true);
  const all = `/sessions${query({ q: `user:${quoted(profile.id)}`, from: range.from, to: range.to === "now" ? "" : range.to })}`;
  return (
    <Card title="Latest sessions" end={profile.sessions.length ? <Link className="link" href={all}>All sessions</Link> : ""} className="whole">
      {profile.sessions.length === 0 ? (
        <p className="muted">No request of this user is in a session. Send <code>x-glassline-session</code> with the requests of a conversation.</p>
      ) : (
        <div className="tbl-scroll" tabIndex={0} role="group" aria-label="Latest sessions">
          <table className="simple">
            <thead>
              <tr><th scope="col">Session</th><th scope="col">Began with</th><th scope="col" className="r">Turns</th><th scope="col" className="r">Errors</th><th scope="col" className="r">Cost</th><th scope="col" className="r">Last seen</th></tr>
            </thead>
            <tbody>
              {profile.sessions.map((session) => (
                <tr key={session.id}>
                  <th scope="row"><Link className="link wire" href={pageOf.session(session.id)}>{session.id}</Link></th>
                  <td className="text wire muted">{previewOf(session.first_request)?.message ?? NONE}</td>
                  <td className="r">{count(session.turns)}</td>
                  <td className="r">{session.errors ? <span className="bad">{count(session.errors)}</span> : "0"}</td>
                  <td className="r"><Money nano={costOfSession(session)} /></td>
                  <td className="r"><Time ms={session.last_at} isRelative /></td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Card>
  );
}

function Models({ profile, range }: { profile: Profile; range: Range }) {
  const who = `user:${quoted(profile.id)}`;
  return (
    <Card title="Models" end={profile.models_of === null ? "" : `of the newest ${count(profile.models_of)} requests`}>
      <div className="tbl-scroll" tabIndex={0} role="group" aria-label="Models">
        <table className="simple">
          <thead>
            <tr><th scope="col">Model</th><th scope="col" className="r">Requests</th><th scope="col" className="r">Errors</th><th scope="col" className="r">Cost</th></tr>
          </thead>
          <tbody>
            {profile.models.map((each) => (
              <tr key={each.model}>
                <th scope="row">{each.model ? <Link className="link wire" href={pageOf.requests(`${who} model:${quoted(each.model)}`, range)}>{each.model}</Link> : <span className="muted">unknown</span>}</th>
                <td className="r">{count(each.requests)}</td>
                <td className="r">{each.errors ? <span className="bad">{count(each.errors)}</span> : "0"}</td>
                <td className="r"><Money nano={costOf(each)} /></td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Card>
  );
}

function Failures({ profile, range }: { profile: Profile; range: Range }) {
  const who = `user:${quoted(profile.id)}`;
  return (
    <Card title="Latest failures" end={profile.total.errors ? <Link className="link" href={pageOf.requests(`${who} ${FAILED}`, range)}>All {count(profile.total.errors)}</Link> : ""}>
      {profile.failed.length === 0 ? (
        <p className="muted">Nothing failed in this time.</p>
      ) : (
        <div className="tbl-scroll" tabIndex={0} role="group" aria-label="Latest failures">
          <table className="simple">
            <thead>
              <tr><th scope="col">When</th><th scope="col">Status</th><th scope="col">What</th><th scope="col">Model</th></tr>
            </thead>
            <tbody>
              {profile.failed.map((row) => (
                <tr key={row.id}>
                  <th scope="row"><Link className="link" href={pageOf.request(row.id)}><Time ms={row.started_at} isRelative /></Link></th>
                  <td><RequestStatus status={row.status} outcome={row.outcome} /></td>
                  <td className="text wire" title={row.error_message ?? ""}>{row.error_message ?? row.error_code ?? row.outcome}</td>
                  <td className="wire muted">{row.model ?? row.model_requested ?? NONE}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Card>
  );
}
