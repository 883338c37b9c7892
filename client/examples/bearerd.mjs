/*
 * @coze/api with tokens of bearerd:
 *
 *     import { CozeAPI } from '@coze/api';
 *     import { bearerd } from './bearerd.mjs';
 *
 *     const coze = new CozeAPI({ token: bearerd('bot'), baseURL: 'https://api.coze.cn' });
 *
 * The SDK calls the function before each request. The daemon answers from memory, so keep no copy
 * of the token.
 */

import http from 'node:http';

const socketPath = process.env.BEARERD_SOCKET ?? '/run/bearerd/bearerd.sock';

/* A function that gets the token of a credential, or of an end user (subject) below it. */
export const bearerd =
  (credential, subject = '') =>
  async () => {
    const [name, user] = [credential, subject].map(encodeURIComponent);
    const { status, body } = await get(`/v1/token/${name}?subject=${user}`);
    if (status !== 200) throw new Error(JSON.parse(body).error_description);
    return body;
  };

function get(path) {
  return new Promise((resolve, reject) => {
    const options = { socketPath, path, headers: { Accept: 'text/plain' }, agent: false };
    http
      .get(options, (response) => {
        let body = '';
        response.setEncoding('utf8');
        response.on('data', (piece) => (body += piece));
        response.on('end', () => resolve({ status: response.statusCode, body }));
        response.on('error', reject);
      })
      .on('error', (e) => reject(new Error(`no answer from bearerd: ${e.message}`)));
  });
}
