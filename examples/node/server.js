const { createServer } = require('node:http');

const port = Number(process.env.PORT);

createServer((request, response) => {
  response.end(`${request.method} ${request.url}\n`);
}).listen(port, () => console.log(`listening on ${port}`));
