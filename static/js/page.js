// What every page can do that holds no figure: keep the reader's colour scheme.
import { watchTheme } from "./theme.js";

watchTheme();
