import { useState } from "react";
import { may } from "../../lib/boot.ts";
import { bytes, count, duration, plural } from "../../lib/format.ts";
import { useRead, type Answer } from "../../lib/queries.ts";
import { flag, useUrlState } from "../../lib/url.ts";
import { Button } from "../../ui/Button.tsx";
import { Card, Facts, Pairs, Track } from "../../ui/Card.tsx";
import { Id } from "../../ui/CopyButton.tsx";
import { Segments } from "../../ui/Fields.tsx";
import { Loaded } from "../../ui/States.tsx";
import { StatusMark, type Level } from "../../ui/Status.tsx";
import { Time } from "../../ui/Time.tsx";
import type { System as Told } from "./model.ts";
import { Scroll, Yaml } from "./parts.tsx";

const STATE = { all: flag(false, "replace") } as const;
const LEVELS: Readonly<Record<string, Level>> = { ok: "ok", warning: "warn", error: "bad" };
const STATES: Readonly<Record<string, Level>> = { ready: "ok", "not ready": "warn", silent: "bad", ended: "none" };

/** What runs, how it is doing, how much room there is. */
export function System() {
  const answer = useRead<Told>("/api/settings/system", {}, { every: 5_000 });
  return (
    <div className="settings-stack">
      <Loaded answer={answer} what="The state could not be read">{(told) => <Now told={told} />}</Loaded>
      {may("editor") && (
        <>
          <Doctor />
          <Configuration />
        </>
      )}
    </div>
  );
}

function Now({ told }: { told: Told }) {
  const { journal, disk, config } = told;
  const whole = told.files.reduce((sum, file) => sum + file.bytes, 0);
  return (
    <div data-volatile className="settings-stack">
      <Facts
        facts={[
          ["Version", told.version, `Python ${told.python}`],
          ["Records wait", journal.lag_s === null ? "–" : duration(journal.lag_s * 1000), journal.bytes === null ? undefined : `${bytes(journal.bytes)} of journal`],
          ["Lost records", <span key="l" className={journal.lost_records ? "bad" : ""}>{count(journal.lost_records)}</span>, journal.bad_frames ? `${count(journal.bad_frames)} damaged frames` : undefined],
          ["Free disk", <span key="d" className={disk.free_bytes < disk.reserve_bytes ? "bad" : disk.free_bytes < disk.low_bytes ? "warn" : ""}>{bytes(disk.free_bytes)}</span>],
          ["Stored", bytes(whole)],
        ]}
      />
      <div className="settings-grid">
        <div className="settings-stack">
          <Card title="Processes" end={plural(told.processes.length, "process", "processes")}>
            <Scroll label="Processes">
              <table className="simple">
                <thead><tr><th>Process</th><th className="r">Pid</th><th className="r">Memory</th><th>State</th><th className="r">In flight</th><th className="r">Loop lag</th></tr></thead>
                <tbody>
                  {told.processes.map((each) => {
                    const gateway = told.gateways.find((other) => other.pid === each.pid);
                    return (
                      <tr key={each.pid}>
                        <th>{each.name}</th>
                        <td className="r">{each.pid}</td>
                        <td className="r">{bytes(each.memory_bytes)}</td>
                        <td>{gateway ? <StatusMark level={STATES[gateway.state] ?? "none"}>{gateway.state}</StatusMark> : <StatusMark level="ok">runs</StatusMark>}</td>
                        <td className="r">{gateway ? count(gateway.in_flight) : ""}</td>
                        <td className="r">{gateway ? duration(gateway.loop_lag_ms) : ""}</td>
                      </tr>
                    );
                  })}
                </tbody>
              </table>
            </Scroll>
          </Card>
          <Card title="Configuration in force">
            <Pairs
              pairs={[
                ["File", config.file ? <Id key="f" id={config.file} /> : "none: the defaults"],
                ["SHA-256", config.sha256 ? <Id key="s" id={config.sha256} shown={config.sha256.slice(0, 16)} /> : "–"],
                ["Loaded", config.loaded_ms ? <Time key="l" ms={config.loaded_ms} withRelative /> : "–"],
                ["Generation", count(config.generation)],
              ]}
            />
            {!config.is_good && <p className="problem-box" role="alert">The last attempt to load the file failed. The last good configuration is in force; the log names each mistake, and glassline check does, too.</p>}
          </Card>
        </div>
        <Card title="On the disk" end={<span className="mono wire">{told.data_dir}</span>}>
          <table className="simple">
            <tbody>
              {told.files.map((file) => (
                <tr key={file.name}>
                  <th>{file.name}</th>
                  <td className="st-bar"><Track share={whole ? file.bytes / whole : 0} label={`Share of ${file.name}`} /></td>
                  <td className="r nowrap">{bytes(file.bytes)}{file.files !== undefined && <span className="muted"> in {plural(file.files, "file")}</span>}</td>
                </tr>
              ))}
            </tbody>
          </table>
          {may("editor") && <Tables />}
          <Yaml text="glassline backup glassline-backup.tar">A consistent copy of all databases, while everything runs:</Yaml>
        </Card>
      </div>
    </div>
  );
}

interface TableSize {
  name: string;
  bytes: number;
  indexes: number;
}

/** Every page of the database is looked at, so only when it is asked for. */
function Tables() {
  const [isAsked, setAsked] = useState(false);
  const answer: Answer<{ tables: TableSize[] }> = useRead("/api/settings/tables", {}, { enabled: isAsked });
  if (!isAsked) return <Button size="small" onClick={() => setAsked(true)}>Measure the tables</Button>;
  return (
    <Loaded answer={answer} what="The tables could not be measured">
      {({ tables }) => (
        <table className="simple">
          <thead><tr><th>Table of records.db</th><th className="r">With its indexes</th></tr></thead>
          <tbody>{tables.slice(0, 12).map((each) => <tr key={each.name}><th>{each.name}</th><td className="r">{bytes(each.bytes)}</td></tr>)}</tbody>
        </table>
      )}
    </Loaded>
  );
}

interface Finding {
  level: string;
  subject: string;
  detail: string;
}

function Doctor() {
  const [asked, setAsked] = useState(0);
  const answer = useRead<{ findings: Finding[] }>("/api/settings/doctor", { n: asked || null }, { enabled: asked > 0 });
  return (
    <Card title="Doctor" end={<Button size="small" disabled={asked > 0 && answer.isFetching} onClick={() => setAsked(asked + 1)}>{asked > 0 && answer.isFetching ? "Looking…" : asked ? "Look again" : "Look what is wrong"}</Button>}>
      {asked === 0 ? (
        <p className="muted">Looks at the environment: Python, SQLite, disk, ports, memory, what starts with Python.</p>
      ) : (
        <Loaded answer={answer} what="The doctor did not come">
          {({ findings }) => (
            <Scroll label="Findings of the doctor">
              <table className="simple">
                <tbody>{findings.map((each, at) => <tr key={at}><td><StatusMark level={LEVELS[each.level] ?? "none"}>{each.level}</StatusMark></td><th className="nowrap">{each.subject}</th><td className="wire">{each.detail}</td></tr>)}</tbody>
              </table>
            </Scroll>
          )}
        </Loaded>
      )}
    </Card>
  );
}

function Configuration() {
  const [{ all }, setState] = useUrlState(STATE);
  const answer = useRead<{ yaml: string }>("/api/settings/config", { all: all ? "true" : null });
  return (
    <Card title="The configuration" end={<Segments label="How much of it" value={all ? "all" : "own"} options={[["own", "What differs"], ["all", "Everything"]]} onChange={(value) => setState({ all: value === "all" })} />}>
      <Loaded answer={answer} what="The configuration could not be read">{({ yaml }) => <Yaml text={yaml} isVolatile>As it is in force, secrets hidden. It is changed in its file.</Yaml>}</Loaded>
    </Card>
  );
}
