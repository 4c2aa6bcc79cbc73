import { useState, type ReactNode } from "react";
import { Link } from "wouter";
import { send } from "../../lib/api.ts";
import { may } from "../../lib/boot.ts";
import { count, moneyNano } from "../../lib/format.ts";
import { pageOf } from "../../lib/path.ts";
import { forget } from "../../lib/queries.ts";
import { Button, IconButton } from "../../ui/Button.tsx";
import { Pairs, Track } from "../../ui/Card.tsx";
import { Chip } from "../../ui/Chip.tsx";
import { Dialog } from "../../ui/Dialog.tsx";
import { TextField } from "../../ui/Fields.tsx";
import { ErrorState } from "../../ui/States.tsx";
import { Time } from "../../ui/Time.tsx";
import { Trying } from "./Trying.tsx";
import { maskOf, windowWords, type Account, type Budget, type Key } from "./model.ts";

/** One key: what it may do, what it did, and what can be done with it. */
export function Panel({ stored, auth, models, onClose, onChange }: { stored: Key; auth: "passthrough" | "virtual"; models: readonly string[]; onClose(): void; onChange(): void }) {
  const [isRevoking, setRevoking] = useState(false);
  const isLiving = stored.revoked_ms === null;
  const isOurs = stored.origin === "dynamic";
  const rates = stored.rate_limits;
  const limits = [rates.requests_per_minute && `${count(rates.requests_per_minute)} requests a minute`, rates.tokens_per_minute && `${count(rates.tokens_per_minute)} tokens a minute`, rates.concurrent && `${count(rates.concurrent)} at a time`].filter(Boolean);
  const pairs: [ReactNode, ReactNode][] = [
    ["Key", <code key="k" className="mono">{maskOf(stored)}</code>],
    ["Made", stored.created_ms ? <Time key="m" ms={stored.created_ms} withRelative /> : "in the configuration"],
    ["Last used", stored.use.last_used_ms ? <Time key="l" ms={stored.use.last_used_ms} withRelative /> : "not in 90 days"],
    ["Models", <Names key="o" names={stored.models} />],
    ["Upstreams", <Names key="u" names={stored.upstreams} />],
    ["Rates", limits.length ? limits.join(", ") : "no limit"],
    ["Tags", Object.keys(stored.tags).length ? <span key="t" className="ky-chips">{Object.entries(stored.tags).map(([name, value]) => <Chip key={name} name={name}>{value}</Chip>)}</span> : "none"],
    ["30 days", <Link key="r" className="link" href={pageOf.requests(`key:"${stored.name}"`, { from: "now-30d" })}>{count(stored.use.requests_30d)} requests, {moneyNano(stored.use.cost_30d_nano_usd)}</Link>],
  ];
  return (
    <aside className="card pad ky-key-panel" aria-label={`Key ${stored.name}`}>
      <header>
        <h2 className="wire">{stored.name}</h2>
        <IconButton icon="cross" label="Close" keys="Esc" onClick={onClose} />
      </header>
      {!isLiving && stored.revoked_ms !== null && <p className="caption warn">Revoked <Time ms={stored.revoked_ms} withRelative />: nothing takes it any more.</p>}
      <Pairs pairs={pairs} />
      <h3>Budgets</h3>
      {stored.budgets.length ? (
        <ul className="ky-budgets">
          {stored.budgets.map((budget, at) => <BudgetLine key={at} budget={budget} account={stored.accounts[at] ?? null} identity={stored.identities[at] ?? ""} />)}
        </ul>
      ) : (
        <p className="caption">None: it may spend without a limit of its own.</p>
      )}
      {isLiving && may("editor") && (
        <>
          {isOurs ? (
            <div className="ky-acts">
              <Button icon="edit" onClick={onChange}>Change the limits</Button>
              <Button kind="danger" icon="trash" onClick={() => setRevoking(true)}>Revoke</Button>
            </div>
          ) : (
            <p className="caption">It stands in the configuration file under <code>keys</code>, and is changed there.</p>
          )}
          {isOurs || auth === "virtual" ? (
            <Trying key={stored.name} name={stored.name} models={models} standard={stored.models.find((name) => !/[*?[]/.test(name)) ?? models[0] ?? ""} />
          ) : (
            <p className="caption">Applications send this provider key themselves, so it cannot be tried from here.</p>
          )}
        </>
      )}
      {isRevoking && <Revoke name={stored.name} onClose={() => setRevoking(false)} />}
    </aside>
  );
}

function Names({ names }: { names: readonly string[] }) {
  return names.length ? <span className="ky-chips">{names.map((name) => <Chip key={name} isPlain>{name}</Chip>)}</span> : <>all</>;
}

function BudgetLine({ budget, account, identity }: { budget: Budget; account: Account | null; identity: string }) {
  const limit = Number(budget.limit_usd) * 1e9;
  const spent = (account?.spent_nano_usd ?? 0) + (account?.reserved_nano_usd ?? 0);
  const share = limit ? spent / limit : 1;
  const level = share >= 1 ? "bad" : share >= 0.8 ? "warn" : "ok";
  return (
    <li>
      <Link className="link" href={pageOf.budget(identity)}>{moneyNano(limit)} {windowWords(budget)}</Link>
      <span className="num muted">{moneyNano(spent)} used{account?.resets_at ? <>, begins anew <Time ms={account.resets_at} isRelative /></> : null}</span>
      <Track share={share} level={level} label={`Used of ${identity}`} />
      <span className="caption">{[budget.models.length ? `for ${budget.models.join(", ")}` : null, budget.hard ? "refuses what would pass it" : "warns only", budget.per ? `each ${budget.per}` : null].filter(Boolean).join("; ")}</span>
    </li>
  );
}

/** Revoking cannot be undone, so the name is asked for. */
function Revoke({ name, onClose }: { name: string; onClose(): void }) {
  const [typed, setTyped] = useState("");
  const [error, setError] = useState<unknown>(null);
  const revoke = () => {
    send("DELETE", `/api/keys/${name}`).then(() => forget("/api/keys").then(onClose), setError);
  };
  return (
    <Dialog
      isAlert
      title={`Revoke ${name}?`}
      onClose={onClose}
      foot={
        <>
          <Button onClick={onClose}>Keep it</Button>
          <Button kind="danger" disabled={typed !== name} onClick={revoke}>Revoke the key</Button>
        </>
      }
    >
      <p>Applications that use it are refused from now on. It cannot be undone; its records stay.</p>
      <TextField label={`Type ${name} to be sure`} value={typed} onText={setTyped} autoFocus autoComplete="off" spellCheck={false} />
      {error !== null && <ErrorState error={error} what="It was not revoked" />}
    </Dialog>
  );
}
