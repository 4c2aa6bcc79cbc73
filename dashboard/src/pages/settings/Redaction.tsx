import { useEffect, useState, type ReactNode } from "react";
import { send } from "../../lib/api.ts";
import { useRead } from "../../lib/queries.ts";
import { text as word, useUrlState, words } from "../../lib/url.ts";
import { Card } from "../../ui/Card.tsx";
import { Chip } from "../../ui/Chip.tsx";
import { Checkbox, TextArea } from "../../ui/Fields.tsx";
import { ErrorState, Loaded } from "../../ui/States.tsx";
import type { Redaction as Rules } from "./model.ts";
import { Yaml } from "./parts.tsx";

/** `rules=` is what is tried; without it, what is configured. */
const STATE = { rules: words([], "replace"), try: word("", "replace") } as const;
const EXAMPLE = "Ada Lovelace <ada@example.com>, +44 20 7946 0958, pays with 4111 1111 1111 1111.\nIBAN DE89 3704 0044 0532 0130 00, from 203.0.113.7.\nAuthorization: Bearer abcdefghijklmnop1234567890";
const TITLES: Readonly<Record<string, string>> = { email: "E-mail addresses", phone: "Phone numbers", credit_card: "Card numbers", iban: "IBANs", ip: "IP addresses", keys: "Keys and passwords" };

/** What is taken out before anything is stored, tried on a text. */
export function Redaction() {
  const answer = useRead<Rules>("/api/redaction");
  return (
    <Loaded answer={answer} what="The rules could not be read">
      {(rules) => (
        <div className="settings-stack">
          <Card title="In force" end={rules.reidentify ? "can be looked up again" : undefined}>
            {rules.rules.length ? (
              <p className="st-chips">{rules.rules.map((rule) => <Chip key={rule} isPlain>{TITLES[rule] ?? rule}</Chip>)}</p>
            ) : (
              <p>Nothing is taken out: what applications send and get is stored as it passed. Choose rules below and see what they would do.</p>
            )}
            {rules.patterns.length > 0 && <table className="simple"><tbody>{rules.patterns.map((each) => <tr key={each.name}><th>{each.name}</th><td className="mono wire">{each.pattern}</td></tr>)}</tbody></table>}
            <p className="caption">What passes to the provider is never changed; redaction is about what is stored here.</p>
          </Card>
          <Trial rules={rules} />
        </div>
      )}
    </Loaded>
  );
}

function Trial({ rules }: { rules: Rules }) {
  const [state, setState] = useUrlState(STATE);
  const isChosen = state.try === "1";
  // Where nothing is configured, what everything would do says more than nothing.
  const chosen = isChosen ? state.rules : rules.rules.length ? rules.rules : rules.known;
  const [sample, setSample] = useState(EXAMPLE);
  const [shown, setShown] = useState<string | null>(null);
  const [error, setError] = useState<unknown>(null);
  const names = [...new Set([...rules.known, ...rules.patterns.map((each) => each.name)])];
  const asked = JSON.stringify({ text: sample, rules: chosen });
  useEffect(() => {
    const stop = new AbortController();
    const timer = setTimeout(() => {
      send<{ text: string }>("POST", "/api/redaction/preview", JSON.parse(asked), undefined, stop.signal).then(
        (found) => {
          setShown(found.text);
          setError(null);
        },
        (problem: unknown) => !stop.signal.aborted && setError(problem),
      );
    }, 200);
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
  }, [asked]);
  const toggle = (name: string, isOn: boolean) => setState({ try: "1", rules: isOn ? [...chosen, name] : chosen.filter((each) => each !== name) });
  return (
    <Card title="Try it" end="nothing of this is kept">
      <div className="st-rules">{names.map((name) => <Checkbox key={name} label={TITLES[name] ?? name} isChecked={chosen.includes(name)} onChange={(isOn) => toggle(name, isOn)} />)}</div>
      <div className="st-twice">
        <TextArea label="As it passes" value={sample} onText={setSample} rows={7} maxLength={65_536} spellCheck={false} className="input wire" />
        <div className="field">
          <span className="label">As it would be stored</span>
          <output className="st-stored wire lines" aria-live="polite">{shown === null ? "" : marked(shown)}</output>
        </div>
      </div>
      {error !== null && <ErrorState error={error} what="It could not be tried" />}
      {(isChosen || !rules.rules.length) && <Yaml text={`record:\n  redact: [${chosen.map((name) => written(name, rules)).join(", ")}]`} />}
    </Card>
  );
}

function written(name: string, rules: Rules): string {
  const own = rules.patterns.find((each) => each.name === name);
  return own ? `{name: ${own.name}, pattern: '${own.pattern.replaceAll("'", "''")}'}` : name;
}

/** Placeholders stand out. */
function marked(text: string): ReactNode[] {
  return text.split(/(\[[A-Z][A-Z0-9_]*(?::[0-9a-f]+)?\])/).map((part, at) => (at % 2 ? <mark key={at}>{part}</mark> : part));
}
