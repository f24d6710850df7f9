// Tables marked `data-sortable`: a click on a heading sorts by that column, a second one turns it.
'use strict';

for (const table of document.querySelectorAll('table[data-sortable]')) {
  const headings = [...table.tHead.rows[0].cells];
  const value = (row, column) => row.cells[column].dataset.value ?? row.cells[column].textContent;
  headings.forEach((heading, column) => heading.addEventListener('click', () => {
    const rows = [...table.tBodies[0].rows];
    const isText = rows.some((row) => Number.isNaN(Number(value(row, column))));
    // Names begin with A, figures with the highest.
    const first = isText ? 'ascending' : 'descending';
    const other = isText ? 'descending' : 'ascending';
    const order = heading.getAttribute('aria-sort') === first ? other : first;
    const sign = order === 'ascending' ? 1 : -1;
    rows.sort((a, b) => sign * (isText
      ? value(a, column).localeCompare(value(b, column), 'en', {numeric: true})
      : value(a, column) - value(b, column)));
    for (const each of headings) each.removeAttribute('aria-sort');
    heading.setAttribute('aria-sort', order);
    table.tBodies[0].append(...rows);
  }));
}
