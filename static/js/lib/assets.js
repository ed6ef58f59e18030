// Load the style sheets and scripts that only some readers need, once each. The page says where they are (base.jinja).

const loading = new Map(); // name → a promise of whether the file is here

/** Load a file by its name; the promise says whether it came. One that did not is asked for again the next time. */
export function load(name, properties = {}) {
  if (!loading.has(name)) loading.set(name, add(name, properties));
  return loading.get(name);
}

function add(name, properties) {
  const address = new URL(JSON.parse(document.documentElement.dataset.assets)[name], location).href;
  if ([...document.styleSheets].some(({ href }) => href === address)) return Promise.resolve(true); // the page has it already
  const isSheet = address.endsWith(".css");
  const element = document.createElement(isSheet ? "link" : "script");
  Object.assign(element, isSheet ? { rel: "stylesheet", href: address } : { src: address }, properties);
  document.head.append(element);
  return new Promise((resolve) => {
    element.onload = () => resolve(true);
    element.onerror = () => {
      element.remove();
      loading.delete(name);
      resolve(false);
    };
  });
}
