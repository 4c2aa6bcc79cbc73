/** What can be done with the rows that were chosen. */
import { useLocation } from "wouter";
import { copy } from "../../lib/clipboard.ts";
import { plural } from "../../lib/format.ts";
import { useCommands } from "../../lib/keys.ts";
import { pageOf } from "../../lib/path.ts";
import { Button, IconButton } from "../../ui/Button.tsx";
import { toast } from "../../ui/Toast.tsx";
import { download } from "../../lib/download.ts";
import { exportUrl } from "./ExportMenu.tsx";

/** `ids` in the order in which they were chosen. */
export function BulkBar({ ids, cols, onClear }: { ids: readonly string[]; cols: readonly string[]; onClear(): void }) {
  const [, navigate] = useLocation();
  const [first, second] = ids;
  const copyIds = async () => {
    const isCopied = await copy(ids.join("\n"));
    toast(isCopied ? `Copied ${plural(ids.length, "id")}` : "Could not copy", !isCopied);
  };
  const compare = () => first && second && ids.length === 2 && navigate(`${pageOf.request(first)}?tab=compare&with=${encodeURIComponent(second)}`);
  useCommands([{ keys: "Escape", title: "Choose none", group: "List", run: onClear }]);
  return (
    <div className="bulk overlay" role="toolbar" aria-label="Chosen requests">
      <span className="num" role="status">{plural(ids.length, "request")} chosen</span>
      <Button size="small" disabled={ids.length !== 2} title={ids.length === 2 ? undefined : "Choose two to compare them"} onClick={compare}>Compare</Button>
      <Button size="small" icon="play" disabled={ids.length !== 1} title={ids.length === 1 ? undefined : "Choose one to replay it"} onClick={() => first && navigate(pageOf.replay(first))}>Replay</Button>
      <Button size="small" icon="download" onClick={() => download(exportUrl("csv", { ids, cols }))}>CSV</Button>
      <Button size="small" icon="download" onClick={() => download(exportUrl("jsonl", { ids, cols, bodies: 1 }))}>JSON lines</Button>
      <Button size="small" icon="copy" onClick={() => void copyIds()}>Ids</Button>
      <IconButton size="small" icon="cross" label="Choose none" keys="Escape" onClick={onClear} />
    </div>
  );
}
