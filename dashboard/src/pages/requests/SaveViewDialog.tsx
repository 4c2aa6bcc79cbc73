import { useState, type FormEvent } from "react";
import { send } from "../../lib/api.ts";
import { may } from "../../lib/boot.ts";
import { forget } from "../../lib/queries.ts";
import { Button } from "../../ui/Button.tsx";
import { Dialog } from "../../ui/Dialog.tsx";
import { Checkbox, TextField } from "../../ui/Fields.tsx";
import type { View } from "./SavedViews.tsx";

export default function SaveViewDialog({ query, onSaved, onClose }: { query: string; path: string; onSaved(view: View): void; onClose(): void }) {
  const [name, setName] = useState("");
  const [isShared, setShared] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const save = async (event: FormEvent) => {
    event.preventDefault();
    try {
      const view = await send<View>("POST", "/api/views", { page: "requests", name, query, is_shared: isShared });
      await forget("/api/views");
      onSaved(view);
      onClose();
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error));
    }
  };
  return (
    <Dialog title="Save this view" width={420} onClose={onClose}>
      <form className="form" onSubmit={(event) => void save(event)}>
        <TextField label="Name" value={name} maxLength={80} required autoFocus problem={problem} onText={setName} />
        {may("editor") && <Checkbox label="For everybody" isChecked={isShared} onChange={setShared} />}
        <p className="caption">Kept are the filter, the range of time, the order and the columns.</p>
        <div className="dialog-foot">
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" kind="primary" disabled={!name.trim()}>Save</Button>
        </div>
      </form>
    </Dialog>
  );
}
