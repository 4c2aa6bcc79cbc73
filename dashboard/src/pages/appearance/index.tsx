import { PageHead } from "../../app/Layout.tsx";
import { isZone } from "../../lib/format.ts";
import { setSettings, useSettings, type Settings } from "../../lib/settings.ts";
import { zoneName } from "../../lib/zone.ts";
import { Card } from "../../ui/Card.tsx";
import { Checkbox, Segments, TextField } from "../../ui/Fields.tsx";
import { Time, useNow } from "../../ui/Time.tsx";
import { useState } from "react";
import "./appearance.css";

/** How things look in this browser. Nothing of it is sent anywhere. */
export default function AppearancePage() {
  const { theme, density, zone, singleKeys } = useSettings();
  const [named, setNamed] = useState(zone);
  const now = useNow(1_000);
  return (
    <>
      <PageHead title="Appearance" crumbs={[["Settings", "/settings"]]} />
      <div className="appearance">
        <Card title="Colours" end="or press \">
          <Segments<Settings["theme"]> label="Colours" value={theme} options={[["system", "As the system"], ["light", "Light"], ["dark", "Dark"]]} onChange={(chosen) => setSettings({ theme: chosen })} />
        </Card>
        <Card title="Rows of tables">
          <Segments<Settings["density"]> label="Rows of tables" value={density} options={[["compact", "Compact"], ["normal", "Normal"], ["comfortable", "Comfortable"]]} onChange={(chosen) => setSettings({ density: chosen })} />
        </Card>
        <Card title="Time zone" end={<>now <Time ms={now} /></>}>
          <Segments label="Time zone" value={zone === "" ? "local" : zone === "UTC" ? "utc" : "named"} options={[["local", "Local"], ["utc", "UTC"], ["named", "Other"]]} onChange={(kind) => setSettings({ zone: kind === "local" ? "" : kind === "utc" ? "UTC" : isZone(named) && named && named !== "UTC" ? named : "Europe/London" })} />
          {zone !== "" && zone !== "UTC" && (
            <TextField
              label="Zone"
              list="zones"
              value={named}
              help="Such as Europe/Paris"
              problem={named && !isZone(named) ? "No such zone" : null}
              onText={(text) => {
                setNamed(text);
                if (text && isZone(text)) setSettings({ zone: text });
              }}
            />
          )}
          <datalist id="zones">{Intl.supportedValuesOf("timeZone").map((name) => <option key={name} value={name} />)}</datalist>
          <p className="caption">{zoneName(zone)}; a link with tz= shows its own.</p>
        </Card>
        <Card title="Keys">
          <Checkbox label="Single keys are shortcuts, such as j, k and /" isChecked={singleKeys} onChange={(isOn) => setSettings({ singleKeys: isOn })} />
          <p className="caption">Switch them off if you speak to your computer, or press keys by accident. Ctrl K always works.</p>
        </Card>
        <p className="caption">Kept in this browser only.</p>
      </div>
    </>
  );
}
