// For every page of somebody signed in. A page's own module goes into `{% block head %}`.
import { start as busy } from "./busy.js";
import { start as confirm } from "./confirm.js";
import { start as copy } from "./copy.js";
import { start as dialogs } from "./dialogs.js";
import { start as drafts } from "./drafts.js";
import { start as invalid } from "./invalid.js";
import { start as menus } from "./menus.js";
import { start as operations } from "./operations.js";
import { start as poll } from "./poll.js";
import { start as shortcuts } from "./shortcuts.js";
import { start as swaps } from "./swaps.js";
import { start as theme } from "./theme.js";
import { start as toasts } from "./toasts.js";

const all = [toasts, copy, theme, menus, dialogs, confirm, drafts, busy, invalid, shortcuts, swaps, poll, operations];
for (const start of all) start();
