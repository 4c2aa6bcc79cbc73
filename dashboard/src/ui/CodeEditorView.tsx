import { json } from "@codemirror/lang-json";
import { syntaxHighlighting } from "@codemirror/language";
import { EditorView, minimalSetup } from "codemirror";
import { classHighlighter } from "@lezer/highlight";
import { useEffect, useRef } from "react";
import { styleNonce } from "../lib/trusted.ts";
import { vars } from "../lib/vars.ts";
import type { CodeEditorProps } from "./CodeEditor.tsx";
import "./editor.css";

export default function CodeEditorView({ label, value, onChange, language = "json", isReadOnly = false, minHeight = 120 }: CodeEditorProps) {
  const host = useRef<HTMLDivElement>(null);
  const view = useRef<EditorView | null>(null);
  const latest = useRef({ value, onChange });
  latest.current = { value, onChange };

  useEffect(() => {
    if (!host.current) return undefined;
    const editor = new EditorView({
      parent: host.current,
      doc: latest.current.value,
      extensions: [
        minimalSetup,
        // Its colours are ours: those it brings are for light pages alone.
        syntaxHighlighting(classHighlighter),
        ...(language === "json" ? [json()] : []),
        EditorView.lineWrapping,
        EditorView.cspNonce.of(styleNonce()),
        // What cannot be edited can still be reached and copied with the keyboard.
        EditorView.contentAttributes.of({ "aria-label": label, spellcheck: "false", ...(isReadOnly ? { tabindex: "0", "aria-readonly": "true" } : {}) }),
        EditorView.editable.of(!isReadOnly),
        EditorView.updateListener.of((update) => {
          if (update.docChanged) latest.current.onChange?.(update.state.doc.toString());
        }),
      ],
    });
    view.current = editor;
    return () => {
      editor.destroy();
      view.current = null;
    };
  }, [label, language, isReadOnly]);

  useEffect(() => {
    const editor = view.current;
    if (editor && editor.state.doc.toString() !== value) editor.dispatch({ changes: { from: 0, to: editor.state.doc.length, insert: value } });
  }, [value]);

  return <div className="editor" ref={host} style={vars({ "editor-height": `${minHeight}px` })} />;
}
