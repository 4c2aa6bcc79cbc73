import { useState, type RefObject } from "react";
import { Dialog, Popover } from "react-aria-components";
import { useLocation, useSearch } from "wouter";
import { serverNow } from "../lib/boot.ts";
import { copy } from "../lib/clipboard.ts";
import { isZone } from "../lib/format.ts";
import { setSettings } from "../lib/settings.ts";
import { dayRange, fromField, isRelative, PRESETS, resolve, toField } from "../lib/time.ts";
import { useZone, zoneName, zoneOf } from "../lib/zone.ts";
import { Button } from "../ui/Button.tsx";
import { Segments, TextField } from "../ui/Fields.tsx";
import { toast } from "../ui/Toast.tsx";
import type { Range } from "./TimeRange.tsx";

const DAYS = [[0, "Today"], [1, "Yesterday"]] as const;

export default function TimeRangePopover({ trigger, isOpen, onOpenChange, range, onChange }: { trigger: RefObject<HTMLElement | null>; isOpen: boolean; onOpenChange(isOpen: boolean): void; range: Range; onChange(range: Range): void }) {
  const zone = useZone();
  const choose = (chosen: Range) => {
    onChange(chosen);
    onOpenChange(false);
  };
  return (
    <Popover className="overlay time-range" triggerRef={trigger} isOpen={isOpen} onOpenChange={onOpenChange} placement="bottom end" offset={4}>
      <Dialog aria-label="Range of time">
        <div className="presets">
          {PRESETS.map(([from, name]) => (
            <button type="button" key={from} aria-pressed={range.from === from && range.to === "now"} onClick={() => choose({ from, to: "now" })}>{name}</button>
          ))}
          {DAYS.map(([ago, name]) => {
            const day = dayRange(ago, serverNow(), zone);
            return <button type="button" key={name} aria-pressed={range.from === day.from && range.to === day.to} onClick={() => choose(day)}>{name}</button>;
          })}
        </div>
        <div className="exact">
          <Exact range={range} onChoose={choose} />
          <ZoneSwitch />
          <Button size="small" kind="ghost" icon="copy" onClick={() => void copyFixed(range)}>Copy link with fixed times</Button>
        </div>
      </Dialog>
    </Popover>
  );
}

function Exact({ range, onChoose }: { range: Range; onChoose(range: Range): void }) {
  const zone = useZone();
  const { from, to } = resolve(range, serverNow());
  const [start, setStart] = useState(() => toField(from, zone));
  const [end, setEnd] = useState(() => toField(to, zone));
  const [problem, setProblem] = useState<string | null>(null);
  const apply = () => {
    const first = fromField(start, zone);
    const last = fromField(end, zone);
    if (first === null || last === null || first >= last) setProblem("The beginning comes before the end");
    else onChoose({ from: String(first), to: String(last) });
  };
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        apply();
      }}
    >
      <TextField label="From" type="datetime-local" value={start} onText={setStart} />
      <TextField label="To" type="datetime-local" value={end} onText={setEnd} problem={problem} />
      <Button type="submit" size="small">Apply</Button>
    </form>
  );
}

/** One switch for all times on all pages; what the address names goes first. */
function ZoneSwitch() {
  const zone = useZone();
  const search = useSearch();
  const [path, navigate] = useLocation();
  const [named, setNamed] = useState(zone && zone !== "UTC" ? zone : "");
  const use = (chosen: string) => {
    setSettings({ zone: chosen });
    if (zoneOf(search) === null) return;
    const rest = new URLSearchParams(search);
    rest.delete("tz");
    navigate(rest.size ? `${path}?${rest}` : path, { replace: true });
  };
  return (
    <div className="zones">
      <Segments label="Time zone" value={zone === "" ? "local" : zone === "UTC" ? "utc" : "named"} options={[["local", "Local"], ["utc", "UTC"], ["named", "Other"]]} onChange={(kind) => use(kind === "utc" ? "UTC" : kind === "local" ? "" : named || "Europe/London")} />
      {zone !== "" && zone !== "UTC" && (
        <TextField
          label="Zone"
          list="zone-names"
          value={named}
          problem={named && !isZone(named) ? "No such zone" : null}
          onText={(text) => {
            setNamed(text);
            if (isZone(text)) use(text);
          }}
        />
      )}
      <datalist id="zone-names">{Intl.supportedValuesOf("timeZone").map((name) => <option key={name} value={name} />)}</datalist>
      <p className="caption">{zoneName(zone)}</p>
    </div>
  );
}

async function copyFixed(range: Range): Promise<void> {
  const url = new URL(location.href);
  const { from, to } = resolve(range, serverNow());
  url.searchParams.set("from", String(from));
  url.searchParams.set("to", String(to));
  if (await copy(url.href)) toast(isRelative(range) ? "Copied a link to exactly this time" : "Copied the link");
}
