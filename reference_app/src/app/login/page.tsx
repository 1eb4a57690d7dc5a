export default async function Login({ searchParams }: { searchParams: Promise<Record<string, string | string[] | undefined>> }) {
  const failed = (await searchParams).failed !== undefined
  return (
    <form className="card" method="post" action="/api/login">
      <h1>Sign in</h1>
      {failed && <p className="error" role="alert">Wrong email or password.</p>}
      <label>
        Email
        <input name="email" type="email" autoComplete="username" required />
      </label>
      <label>
        Password
        <input name="password" type="password" autoComplete="current-password" required />
      </label>
      <button>Sign in</button>
    </form>
  )
}
