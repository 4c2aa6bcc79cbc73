/** Exactly what is on the screen as a file: all rows that are meant, with the columns that are shown. */
import { address, type Params } from "../../lib/path.ts";
import { copy } from "../../lib/clipboard.ts";
import { download } from "../../lib/download.ts";
import { Menu } from "../../ui/Menu.tsx";
import { toast } from "../../ui/Toast.tsx";

export function exportUrl(form: "csv" | "jsonl", params: Params): string {
  return address(`/api/requests.${form}`, params);
}

export function ExportMenu({ params, cols }: { params: Params; cols: readonly string[] }) {
  const onAction = async (id: string) => {
    if (id === "copy") {
      const isCopied = await copy(new URL(address("/api/requests", params), location.href).href);
      toast(isCopied ? "Copied the address of this list in the API" : "Could not copy", !isCopied);
      return;
    }
    const more: Params = id === "bodies" ? { cols, bodies: 1 } : id === "finetune" ? { as: "finetune" } : { cols };
    download(exportUrl(id === "csv" ? "csv" : "jsonl", { ...params, ...more }));
  };
  return (
    <Menu
      label="Export"
      className="hide-s"
      onAction={(id) => void onAction(id)}
      groups={[
        { title: "All rows, the columns on the screen", items: [{ id: "csv", title: "CSV" }, { id: "jsonl", title: "JSON lines" }, { id: "bodies", title: "JSON lines with texts" }] },
        { title: "Conversations", items: [{ id: "finetune", title: "OpenAI fine-tuning" }] },
        { items: [{ id: "copy", title: "Copy API URL" }] },
      ]}
    />
  );
}
