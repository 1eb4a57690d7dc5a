import { read } from './db'
import { verifyPassword } from './password'
import type { Credentials } from './validate'

export async function signIn({ email, password }: Credentials): Promise<string | null> {
  const { value: user } = await read((db) => db.user.findUnique({ where: { email } }), null, (row) => row !== null)
  return (await verifyPassword(password, user?.passwordHash)) ? email : null
}
