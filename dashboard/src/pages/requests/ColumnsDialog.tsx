/** Which columns the list has, and in which order. */
import { useRead } from "../../lib/queries.ts";
import { Button, IconButton } from "../../ui/Button.tsx";
import { Dialog } from "../../ui/Dialog.tsx";
import { Checkbox } from "../../ui/Fields.tsx";
import { COLUMN_NAMES, columnName, STANDARD } from "./columns.tsx";

export default function ColumnsDialog({ columns, onChange, onClose }: { columns: readonly string[]; onChange(columns: readonly string[]): void; onClose(): void }) {
  const tags = useRead<{ values: { value: string }[] }>("/api/requests/values", { field: "meta" }).data?.values ?? [];
  const others = [...COLUMN_NAMES.map(([id]) => id), ...tags.map((tag) => `meta.${tag.value}`)].filter((id) => !columns.includes(id));
  const move = (from: number, to: number) => {
    const moved = [...columns];
    moved.splice(to, 0, ...moved.splice(from, 1));
    onChange(moved);
  };
  return (
    <Dialog title="Columns" width={420} onClose={onClose} foot={<><Button onClick={() => onChange(STANDARD)}>As at first</Button><Button kind="primary" onClick={onClose}>Done</Button></>}>
      <ol className="columns-list">
        {columns.map((id, at) => (
          <li key={id}>
            <Checkbox label={<Name id={id} />} isChecked isDisabled={columns.length === 1} onChange={() => onChange(columns.filter((each) => each !== id))} />
            <IconButton icon="up" label={`Move ${columnName(id)} to the left`} size="small" disabled={at === 0} onClick={() => move(at, at - 1)} />
            <IconButton icon="down" label={`Move ${columnName(id)} to the right`} size="small" disabled={at === columns.length - 1} onClick={() => move(at, at + 1)} />
          </li>
        ))}
      </ol>
      <ul className="columns-list others">
        {others.map((id) => (
          <li key={id}>
            <Checkbox label={<Name id={id} />} isChecked={false} onChange={() => onChange([...columns, id])} />
          </li>
        ))}
      </ul>
    </Dialog>
  );
}

function Name({ id }: { id: string }) {
  return <span className="wire">{columnName(id)}{id.startsWith("meta.") && <span className="muted"> (tag)</span>}</span>;
}
