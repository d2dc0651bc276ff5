// DataTables is in the page as base64: a script inside a module cannot be imported otherwise from a file on disk.
const source = atob(document.getElementById("tables-script").textContent);
const bytes = Uint8Array.from(source, (letter) => letter.charCodeAt(0));
const address = URL.createObjectURL(new Blob([bytes], { type: "text/javascript" }));
const { default: DataTable } = await import(address);
URL.revokeObjectURL(address);

const tables = [];
for (const table of document.querySelectorAll("table.sortable")) {
  const names = [...table.querySelectorAll("th.name")].map((_, index) => index);
  const texts = [...(table.tBodies[0].rows[0]?.cells ?? [])].flatMap((cell, index) => ("filter" in cell.dataset ? [index] : []));
  tables.push(new DataTable(table, {
    autoWidth: false,
    columnDefs: [
      { targets: names, columnControl: [["searchList"]] },
      { targets: texts, orderSequence: ["asc", "desc", ""] },
      { targets: "_all", orderSequence: ["desc", "asc", ""] },
    ],
    info: true,
    language: { info: "_TOTAL_ _ENTRIES-TOTAL_", entries: { _: "rows", 1: "row" }, infoEmpty: "no row", infoFiltered: "of _MAX_", search: "Filter rows:", zeroRecords: "No row has this" },
    layout: { topStart: "search", topEnd: null, bottomStart: "info", bottomEnd: null },
    order: [],
    paging: false,
  }));
}
document.documentElement.dataset.ready = "true";

// All rows are printed, whatever is filtered, and what is folded; only the settings stay on the screen.
addEventListener("beforeprint", () => {
  for (const table of tables) table.search("").columns().columnControl.searchClear().draw();
  for (const part of document.querySelectorAll("details:not(.screen)")) part.open = true;
});
