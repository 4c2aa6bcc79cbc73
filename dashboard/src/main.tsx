import { createRoot } from "react-dom/client";
import { App } from "./app/App.tsx";
import { startGoing } from "./app/going.ts";
import { startKeyboard } from "./lib/keys.ts";
import { startSettings } from "./lib/settings.ts";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/shell.css";
import "./styles/parts.css";
import "./ui/small.css";
import "./app/app.css";

startSettings();
startKeyboard();
startGoing();
const root = document.getElementById("root");
if (root) createRoot(root).render(<App />);
