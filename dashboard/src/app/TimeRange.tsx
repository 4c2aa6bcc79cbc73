/** The range of time of a page, and the zone in which everything is shown. Bound to t. */
import { lazy, Suspense, useRef, useState } from "react";
import { serverNow } from "../lib/boot.ts";
import { useCommands } from "../lib/keys.ts";
import { rangeName } from "../lib/time.ts";
import { useZone } from "../lib/zone.ts";
import { Button } from "../ui/Button.tsx";

const load = () => import("./TimeRangePopover.tsx");
const TimeRangePopover = lazy(load);

export interface Range {
  from: string;
  to: string;
}

export function TimeRange({ range, onChange }: { range: Range; onChange(range: Range): void }) {
  const trigger = useRef<HTMLButtonElement>(null);
  const [isOpen, setOpen] = useState(false);
  const [wasOpened, setOpened] = useState(false);
  const zone = useZone();
  const open = () => {
    setOpened(true);
    setOpen(true);
  };
  useCommands([{ keys: "t", title: "Range of time", group: "Page", run: open }]);
  return (
    <>
      <Button ref={trigger} hasCaret aria-haspopup="dialog" aria-expanded={isOpen} onPointerEnter={() => void load()} onFocus={() => void load()} onClick={open}>
        <span className="num">{rangeName(range, zone, serverNow())}</span>
        {zone === "UTC" && <span className="muted">UTC</span>}
      </Button>
      {wasOpened && (
        <Suspense>
          <TimeRangePopover trigger={trigger} isOpen={isOpen} onOpenChange={setOpen} range={range} onChange={onChange} />
        </Suspense>
      )}
    </>
  );
}
