import { useState } from "react";
import { Link } from "wouter";
import { Problem, send } from "../../lib/api.ts";
import { may } from "../../lib/boot.ts";
import { count, duration, moneyNano, percent } from "../../lib/format.ts";
import { pageOf } from "../../lib/path.ts";
import { useRead } from "../../lib/queries.ts";
import { Button } from "../../ui/Button.tsx";
import { Card, Pairs } from "../../ui/Card.tsx";
import { Chip } from "../../ui/Chip.tsx";
import { Loaded } from "../../ui/States.tsx";
import { StatusPill, type Level } from "../../ui/Status.tsx";
import { Time } from "../../ui/Time.tsx";
import type { Reached, Upstream } from "./model.ts";
import { Yaml } from "./parts.tsx";

const CREDENTIALS = { key: "its api_key is configured", aws: "signed with AWS credentials", none: "wants none", missing: "applications send their own" } as const;

/** Where requests go, and how that is going. */
export function Upstreams() {
  const answer = useRead<{ upstreams: Upstream[]; auth: string }>("/api/upstreams", {}, { every: 15_000 });
  return (
    <Loaded answer={answer} what="The upstreams could not be read">
      {({ upstreams }) => (
        <div className="settings-grid">
          {upstreams.map((upstream) => <UpstreamCard key={upstream.name} upstream={upstream} />)}
          <Card title="Another upstream">
            <p>Providers with a built-in row need no configuration: /groq/…, /mistral/… and others lead there with the caller&rsquo;s key. One of your own:</p>
            <Yaml text={"upstreams:\n  local:\n    base_url: http://127.0.0.1:8000/v1\n    wire: openai\n    allow_private: true\n    free: true"} />
          </Card>
        </div>
      )}
    </Loaded>
  );
}

function UpstreamCard({ upstream }: { upstream: Upstream }) {
  const [reached, setReached] = useState<Reached | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const [isBusy, setBusy] = useState(false);
  const look = () => {
    setBusy(true);
    setProblem(null);
    send<Reached>("POST", `/api/upstreams/${upstream.name}/look`)
      .then(setReached, (error: unknown) => setProblem(error instanceof Problem ? error.message : String(error)))
      .finally(() => setBusy(false));
  };
  const [level, word] = judged(upstream);
  const failure = upstream.last_failure;
  return (
    <Card
      title={<span className="wire">{upstream.name}</span>}
      end={
        <>
          {upstream.is_default && <Chip isPlain>default</Chip>}
          {!upstream.is_configured && <Chip isPlain>built in</Chip>}
          <StatusPill level={level}>{word}</StatusPill>
        </>
      }
    >
      <p className="mono wire st-address" data-volatile>{upstream.base_url ?? "no base_url"}</p>
      <Pairs
        pairs={[
          ["Speaks", upstream.wire],
          ["Credential", CREDENTIALS[upstream.credential]],
          ["Last hour", upstream.hour ? <Link key="h" className="link" href={pageOf.requests(`upstream:${upstream.name}`, { from: "now-1h" })}>{count(upstream.hour.requests)} requests, {percent(upstream.hour.errors / upstream.hour.requests, upstream.hour.requests)} errors</Link> : "no request"],
          ["7 days", `${count(upstream.requests_7d)} requests, ${upstream.is_free ? "free" : moneyNano(upstream.cost_7d_nano_usd)}`],
          ["Last answer", upstream.last_answer_ms ? <Time key="a" ms={upstream.last_answer_ms} withRelative /> : "none yet"],
          ...(failure ? [["Last failure", <span key="f"><Time ms={failure.at_ms} isRelative />: <Link className="link wire" href={pageOf.request(failure.id)}>{failure.message ?? failure.outcome.replaceAll("_", " ")}</Link></span>] as const] : []),
          ["Price table", upstream.provider ?? "none: only overrides give prices"],
        ]}
      />
      {upstream.hindrance && <p className="caption">{upstream.hindrance}</p>}
      <div className="st-look">
        {may("editor") && upstream.base_url && <Button size="small" disabled={isBusy} onClick={look}>{isBusy ? "Looking…" : "Look whether it can be reached"}</Button>}
        <span role="status">
          {problem && <span className="bad">{problem}</span>}
          {reached && (reached.is_reachable ? (
            <span className="num">Connected in {duration(reached.connect_ms)}{reached.tls_ms !== null && `, TLS in ${duration(reached.tls_ms)}`}, <span className="mono wire">{reached.address}</span></span>
          ) : (
            <span className="bad wire">Not reachable: {reached.problem}</span>
          ))}
        </span>
      </div>
    </Card>
  );
}

/** A word for how it went of late: by the requests of the last hour. */
function judged(upstream: Upstream): [Level, string] {
  const hour = upstream.hour;
  if (!hour?.requests) return ["none", upstream.last_answer_ms ? "Quiet" : "Not used"];
  if (hour.unreachable / hour.requests > 0.5) return ["bad", "Failing"];
  if (hour.unreachable > 0 && hour.unreachable / hour.requests > 0.02) return ["warn", "Unsteady"];
  return ["ok", "Answers"];
}
