import { useRead } from "../../lib/queries.ts";
import { boot } from "../../lib/boot.ts";
import { bytes, count, date, duration, plural, short } from "../../lib/format.ts";
import { pageOf } from "../../lib/path.ts";
import { useZone } from "../../lib/zone.ts";
import { Link } from "wouter";
import { Facts, Section } from "../../ui/Card.tsx";
import { Loaded, Skeleton } from "../../ui/States.tsx";
import { Time, useNow } from "../../ui/Time.tsx";
import { quoted } from "../requests/filter.ts";

interface InUse {
  name: string;
  version: string;
  requests: number;
  first_seen: number;
  is_to_the_hour: boolean;
  is_from_the_start: boolean;
}

interface Deployments {
  models: InUse[];
  prompts: InUse[];
  apps: InUse[];
}

const DAY_MS = 86_400_000;

/** What is in use, and since when: the first thing to look at when something changed. */
export function Deployed() {
  const answer = useRead<Deployments>("/api/deployments", {}, { every: 300_000 });
  return (
    <>
      <Section title="In use" note="last 24 hours, with the first request of each" />
      <Loaded answer={answer} what="What is in use could not be read" skeleton={<Skeleton height="120px" />}>
        {({ models, prompts, apps }) => (
          <div className="card deployed">
            <Column title="Models" rows={models} q={(row) => `model:${quoted(row.name)}`} empty="No model answered in the last 24 hours." />
            <Column title="Prompts" rows={prompts} q={(row) => `prompt:${quoted(`${row.name}${row.version && `@${row.version}`}`)}`} empty={<>Name yours with <code>x-glassline-prompt: name@version</code>.</>} />
            <Column title="Versions of applications" rows={apps} q={(row) => `meta.${row.name}:${quoted(row.version)}`} empty={<>Say yours with <b>x-glassline-tags: version=1.4.2</b>.</>} />
          </div>
        )}
      </Loaded>
    </>
  );
}

function Column({ title, rows, q, empty }: { title: string; rows: readonly InUse[]; q(row: InUse): string; empty: React.ReactNode }) {
  const now = useNow(60_000);
  return (
    <section>
      <h3>{title}</h3>
      {rows.length === 0 && <p className="caption">{empty}</p>}
      <ul>
        {rows.map((row) => (
          <li key={`${row.name}@${row.version}`}>
            <Link className="ellipsis wire" href={pageOf.requests(q(row), { from: "now-24h" })} title={plural(row.requests, "request")}>
              {row.name}{row.version && <span className="muted"> {row.version}</span>}
            </Link>
            <Since row={row} isNew={now - row.first_seen < 3 * DAY_MS && !row.is_from_the_start} />
          </li>
        ))}
      </ul>
    </section>
  );
}

function Since({ row, isNew }: { row: InUse; isNew: boolean }) {
  const zone = useZone();
  if (row.is_from_the_start) return <span className="when">from the start</span>;
  return (
    <span className={`when${isNew ? " new" : ""}`}>
      {isNew ? "new " : "since "}
      {row.is_to_the_hour ? <Time ms={row.first_seen} precision="min" /> : date(row.first_seen, zone)}
    </span>
  );
}

interface System {
  version: string;
  started_at: number | null;
  upstreams: { name: string; requests: number; faults: number; is_answering: boolean; newest_at: number }[];
  database_bytes: number;
  requests: number;
  journal_bytes: number | null;
  lag_s: number | null;
  lost: number;
  bodies_kept_s: number;
  records_kept_s: number;
  config: string | null;
  config_at: number;
  is_config_good: boolean;
}

/** What runs here, in six facts. */
export function SystemStrip() {
  const answer = useRead<System>("/api/system", {}, { every: 15_000 });
  const now = useNow();
  return (
    <div className="system-strip columns-of-facts">
      <Loaded answer={answer} what="The system could not be read" skeleton={<Skeleton height="66px" />}>
        {(system) => {
          const answering = system.upstreams.filter((each) => each.is_answering).length;
          const newest = Math.max(0, ...system.upstreams.map((each) => each.newest_at));
          return (
            <Facts
              facts={[
                ["Version", system.version || boot.version, system.started_at ? `up ${duration(Math.max(1000, now - system.started_at))}` : "no start on record"],
                ["Upstreams", system.upstreams.length ? <span className={answering < system.upstreams.length ? "bad" : ""}>{answering} of {system.upstreams.length} answering</span> : "None asked", newest ? <>by their last request, <Time ms={newest} isRelative /></> : "in the last hour"],
                ["Database", bytes(system.database_bytes), plural(system.requests, "request")],
                ["Journal", <span key="lost" className={system.lost ? "bad" : ""}>{count(system.lost)} lost</span>, system.lag_s === null ? "recorder not heard of" : `${duration(system.lag_s * 1000)} behind${system.journal_bytes ? `, ${bytes(system.journal_bytes)}` : ""}`],
                ["Retention", days(system.records_kept_s), `bodies ${days(system.bodies_kept_s)}`],
                ["Configuration", system.config ? <span key="config" className="num">{system.config}</span> : "No file", <>{system.is_config_good ? "loaded " : <span className="warn">last reload refused, in force since </span>}<Time ms={system.config_at} precision="min" /></>],
              ]}
            />
          );
        }}
      </Loaded>
    </div>
  );
}

function days(seconds: number): string {
  const number = seconds / 86_400;
  return number >= 1 ? `${short(number)} days` : duration(seconds * 1000);
}
