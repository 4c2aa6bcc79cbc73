/** All rows of a list as a file, or the address under which programs ask for it. */
import { copy } from "../lib/clipboard.ts";
import { download } from "../lib/download.ts";
import { address, type Params } from "../lib/path.ts";
import { Menu } from "./Menu.tsx";
import { toast } from "./Toast.tsx";

export function ListExport({ path, params }: { path: string; params: Params }) {
  const onAction = async (id: string) => {
    if (id !== "copy") {
      download(address(`${path}.${id}`, params));
      return;
    }
    const isCopied = await copy(new URL(address(path, params), location.href).href);
    toast(isCopied ? "Copied the address of this list in the API" : "Could not copy", !isCopied);
  };
  return (
    <Menu
      label="Export"
      className="hide-s"
      onAction={(id) => void onAction(id)}
      groups={[
        { title: "All rows", items: [{ id: "csv", title: "CSV" }, { id: "jsonl", title: "JSON lines" }] },
        { items: [{ id: "copy", title: "Copy API URL" }] },
      ]}
    />
  );
}
