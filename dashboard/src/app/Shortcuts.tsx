import { shownKey, useBoundKeys } from "../lib/keys.ts";
import { useSettings } from "../lib/settings.ts";
import { Dialog } from "../ui/Dialog.tsx";

/** What the keys do here, read from the table that makes them do it. */
export default function Shortcuts({ onClose }: { onClose(): void }) {
  const bound = useBoundKeys();
  const { singleKeys } = useSettings();
  const groups = Map.groupBy(bound, (command) => command.group);
  return (
    <Dialog title="Keys" onClose={onClose} width={640}>
      {!singleKeys && <p className="muted">Keys without Ctrl or ⌘ are switched off under Settings, Appearance.</p>}
      <div className="shortcuts">
        {[...groups].map(([group, commands]) => (
          <section key={group}>
            <h3>{group}</h3>
            <dl>
              {commands.map((command) => (
                <div key={command.keys}>
                  <dt>{command.title}</dt>
                  <dd>
                    {command.keys.split(", ").map((way, at) => (
                      <span key={way}>
                        {at > 0 && " or "}
                        {way.split(" ").map((key) => <kbd key={key}>{shownKey(key)}</kbd>)}
                      </span>
                    ))}
                  </dd>
                </div>
              ))}
            </dl>
          </section>
        ))}
      </div>
    </Dialog>
  );
}
